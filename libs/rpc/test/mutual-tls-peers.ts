import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { RelayerServiceService as RelayerService, type ListLanesResponse } from '@settlement/proto/relayer/v1/relayer';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { rpcService, startGrpcServer, type CallContext, type GrpcServerOptions, type RpcImplementation, type RunningGrpcServer } from '@settlement/rpc/grpc-server';
import type { RpcLogger } from '@settlement/rpc/rpc-logger';
import { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { MountedSecret, TestAuthority, type IssuedPair } from '@settlement/testing/certificates';
import { Registry } from 'prom-client';

export type ListLanes = (request: { readonly chainId: string }, call: CallContext) => Promise<ListLanesResponse>;

/** A log that a test reads. */
export function recordedLog(): RpcLogger & { readonly lines: { readonly level: string; readonly facts: Readonly<Record<string, unknown>>; readonly message: string }[] } {
  const lines: { level: string; facts: Readonly<Record<string, unknown>>; message: string }[] = [];
  const at = (level: string) => (facts: object, message: string): void => {
    lines.push({ level, facts: { ...facts }, message });
  };
  return { lines, info: at('info'), warn: at('warn'), error: at('error') };
}

/** Workloads of one authority, each with its own mounted secret; everything is closed and removed by `close`. */
export class Peers {
  private readonly folder = mkdtempSync(join(tmpdir(), 'settlement-mtls-'));
  private readonly closers: (() => unknown)[] = [];
  private mounted = 0;
  authority = TestAuthority.root();

  /** A secret with this pair, or with a fresh pair of the workload. */
  secret(workload: string, pair: IssuedPair = this.authority.issueWorkload(workload), authorities = this.authority.certificate): MountedSecret {
    this.mounted += 1;
    const secret = new MountedSecret(join(this.folder, `${this.mounted}-${workload}`));
    secret.put({ ...pair, authorities });
    return secret;
  }

  source(secret: MountedSecret, options: Partial<ConstructorParameters<typeof CertificateSource>[0]> = {}): CertificateSource {
    const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, TLS_CA_FILE: caFile } = secret.environment;
    const source = new CertificateSource({ files: { certFile, keyFile, caFile, trustDomain: 'settlement' }, ...options });
    this.closers.push(() => {
      source.close();
    });
    return source;
  }

  /** A source of a fresh pair. */
  workload(name: string): CertificateSource {
    return this.source(this.secret(name));
  }

  /** A relayer whose `listLanes` answers. */
  async relayer(options: Partial<GrpcServerOptions> & { readonly listLanes?: ListLanes } = {}): Promise<RunningGrpcServer & { readonly metrics: Registry }> {
    const { listLanes = () => Promise.resolve({ lanes: [] }), ...rest } = options;
    const metrics = new Registry();
    const server = await startGrpcServer({
      host: '127.0.0.1',
      port: 0,
      certificates: this.workload('relayer'),
      metrics,
      services: [rpcService(RelayerService, relayerAnswering(listLanes))],
      ...rest,
    });
    this.closers.push(() => server.stop(0));
    return { ...server, metrics };
  }

  client(port: number, certificates: CertificateSource | undefined, address = `127.0.0.1:${port}`): RpcClient<typeof RelayerService> {
    const client = grpcClient(RelayerService, address, { certificates, defaultDeadlineMs: 3_000 });
    this.closers.push(() => {
      client.close();
    });
    return client;
  }

  onClose(closer: () => unknown): void {
    this.closers.push(closer);
  }

  async close(): Promise<void> {
    for (const closer of this.closers.splice(0).reverse()) await closer();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function relayerAnswering(listLanes: ListLanes): RpcImplementation<typeof RelayerService> {
  const notServed = (): Promise<never> => Promise.reject(new OperationalError('NOT_IN_THIS_TEST', 'not served', 'not-done'));
  const others = Object.fromEntries(Object.keys(RelayerService).map((name) => [name, notServed]));
  return { ...others, listLanes } as RpcImplementation<typeof RelayerService>;
}

export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('expected a failure');
    },
    (error: unknown) => error,
  );
}

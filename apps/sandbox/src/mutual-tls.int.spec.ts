import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32 } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import { RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { grpcClient } from '@settlement/rpc/grpc-client';
import { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { MountedSecret, TestAuthority } from '@settlement/testing/certificates';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client';
import { registerMerchants } from './merchants';
import { ledgerView } from './money-check';
import { authorize, payerOf } from './payer';
import { SeededRandom } from './seeded-random';
import { serviceNames, type ServiceName } from './service-process';
import { startSystem, type System } from './system';

const SEED = 84;
const AMOUNT = 1_000_000n;
/** So that calls come over new handshakes all the time; a minute in production. */
const CONNECTION_AGE_MS = 700;

/** What a service says of a call that failed or had to be made again; see grpc-client.ts and grpc-server.ts. */
const FAILED_CALL = /gRPC call is tried again|gRPC call failed|a call was refused|a peer was refused|certificate files are not usable/;

const folder = mkdtempSync(join(tmpdir(), 'settlement-mutual-tls-'));
const before = TestAuthority.root();
const after = TestAuthority.root();
const secrets = new Map<string, MountedSecret>();
let system: System;
let operator: CertificateSource;
let api: ApiClient;

/** Every secret in turn, as cert-manager and the kubelet would, each service in its own time. */
function putAll(issuer: TestAuthority, authorities: string): void {
  for (const [workload, secret] of secrets) secret.put({ ...issuer.issueWorkload(workload), authorities });
}

function tlsOf(service: ServiceName): Record<string, string> {
  return { ...secretOf(service).environment, GRPC_CONNECTION_AGE_MS: String(CONNECTION_AGE_MS) };
}

function secretOf(workload: string): MountedSecret {
  const secret = secrets.get(workload) ?? new MountedSecret(join(folder, 'tls', workload));
  secrets.set(workload, secret);
  return secret;
}

async function metric(service: ServiceName, pattern: RegExp): Promise<number> {
  const text = await (await fetch(system.metricsUrls[service])).text();
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}
const reloads = (service: ServiceName, result: string) => metric(service, new RegExp(`settlement_tls_reloads_total\\{[^}]*result="${result}"[^}]*\\} (\\d+)`));

async function pay(reference: string): Promise<string> {
  const payer = payerOf(SEED, 'mutual-tls');
  const authorization = authorize(payer, system.deployment.usdcDomain, {
    from: payer.address,
    to: system.deployment.vault,
    value: AMOUNT as TokenUnits,
    validAfter: 0n,
    validBefore: BigInt(Math.floor(systemClock.nowMs() / 1_000) + 3_600),
    nonce: `0x${Buffer.from(new SeededRandom(SEED, reference).bytes(32)).toString('hex')}` as Bytes32,
  });
  const answer = await api.request('POST', '/v1/payments', { body: { amount: AMOUNT.toString(), token: 'USDC', chain: system.chainId, reference, authorization }, idempotencyKey: reference });
  expect(answer.status).toBe(201);
  return String(answer.body['id']);
}
const paidOut = (id: string) => expect.poll(async () => (await api.request('GET', `/v1/payments/${id}`)).body['status'], { timeout: 45_000, interval: 200 }).toBe('paid_out');

beforeAll(async () => {
  for (const workload of [...serviceNames, 'operator']) secretOf(workload);
  putAll(before, before.certificate);
  system = await startSystem({
    feed: 'postgres',
    folder,
    lasting: false,
    blockTimeMs: 500,
    finalityDepth: 1,
    sanctioned: [],
    traces: false,
    environment: Object.fromEntries(serviceNames.map((name) => [name, tlsOf(name)])),
    onProgress: () => undefined,
    onUnexpectedExit: (name) => {
      throw new Error(`${name} ended by itself`);
    },
  });
  operator = new CertificateSource({ files: filesOf('operator') });
  const [merchant] = await registerMerchants(system.apiUrl, system.adminToken, system.chainId, 1, SEED, 'mutual-tls');
  await system.deployment.mint(payerOf(SEED, 'mutual-tls').address, 1_000n * AMOUNT);
  api = new ApiClient(system.apiUrl, merchant?.apiKey ?? '');
}, 90_000);

afterAll(async () => {
  operator.close();
  await system.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('five services over mutual TLS', () => {
  it('settle a payment', { timeout: 60_000 }, async () => {
    await paidOut(await pay('first'));
  });

  it('go on through a change of authority and of every certificate without one failed call, and settle what came meanwhile', { timeout: 90_000 }, async () => {
    const logs = serviceNames.map((name) => ({ name, file: join(folder, 'logs', `${name}.log`) }));
    const from = new Map(logs.map(({ file }) => [file, statSync(file).size]));
    let running = true;
    const ids: string[] = [];
    const traffic = (async () => {
      while (running) {
        ids.push(await pay(`rotated-${ids.length}`));
        await systemClock.sleep(100);
      }
    })();
    const both = before.certificate + after.certificate;
    // The order of docs/mutual-tls.md, and twice more the ordinary renewal.
    const steps: readonly (readonly [TestAuthority, string])[] = [[before, both], [after, both], [after, after.certificate], [after, after.certificate], [after, after.certificate]];
    for (const [step, [issuer, authorities]] of steps.entries()) {
      putAll(issuer, authorities);
      for (const name of serviceNames) await expect.poll(() => reloads(name, 'loaded'), { timeout: 5_000, interval: 50 }).toBe(step + 1);
      // Longer than a connection lives: each pair is used by handshakes of everybody.
      await systemClock.sleep(2 * CONNECTION_AGE_MS);
    }
    running = false;
    await traffic;
    for (const id of ids) await paidOut(id);
    expect(ids.length).toBeGreaterThan(steps.length);
    for (const name of serviceNames) expect(await reloads(name, 'rejected')).toBe(0);
    const failed = logs.flatMap(({ name, file }) =>
      readFileSync(file)
        .subarray(from.get(file) ?? 0)
        .toString('utf8')
        .split('\n')
        .filter((line) => FAILED_CALL.test(line))
        .map((line) => `${name}: ${line}`),
    );
    expect(failed).toEqual([]);
  });

  it('hear nobody without a certificate, and each workload for what is its own alone', { timeout: 30_000 }, async () => {
    const plain = grpcClient(RelayerServiceService, system.grpcAddresses.relayer);
    await expect(plain.listLanes({ chainId: '' }, { deadlineMs: 1_000 })).rejects.toThrow();
    plain.close();
    // A service's certificate opens what that service does and nothing else.
    const asRelayer = new CertificateSource({ files: filesOf('relayer') });
    const batch = grpcClient(BatchSettlementServiceService, system.grpcAddresses['batch-settlement'], { certificates: asRelayer });
    await expect(batch.closeBatch({ chainId: system.chainId, token: 'USDC', commandId: 'close' })).rejects.toThrow(/relayer may not call \/settlement.batch.v1.BatchSettlementService\/CloseBatch/);
    batch.close();
    asRelayer.close();
  });

  it('are asked by operators with a certificate, and the books are right', { timeout: 30_000 }, async () => {
    expect(await ledgerView(system, operator)).toMatchObject({ sumOfPostings: '0', breaks: 0 });
    const lanes = (environment: Record<string, string>) =>
      spawnSync(process.execPath, ['tools/run.mjs', 'exec', 'apps/relayer/src/cli/lanes.ts', '--address', system.grpcAddresses.relayer, '--json'], { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...environment } });
    expect(lanes(secretOf('operator').environment)).toMatchObject({ status: 0, stdout: expect.stringContaining('"keyAddress"') as string });
    // In the pod, with the pod's own.
    expect(lanes(secretOf('relayer').environment)).toMatchObject({ status: 0 });
    expect(lanes(secretOf('paymaster').environment)).toMatchObject({ status: 4, stderr: expect.stringContaining('paymaster may not call') as string });
  });
});

function filesOf(workload: string) {
  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, TLS_CA_FILE: caFile } = secretOf(workload).environment;
  return { certFile, keyFile, caFile, trustDomain: 'settlement' };
}

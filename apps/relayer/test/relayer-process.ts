import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '@settlement/local-stack/free-port';
import { RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { repositoryRoot } from '@settlement/config/repository-root';

/** The real program, bundled once for all starts of a test file. */
export interface RelayerProgram {
  readonly file: string;
  remove(): void;
}

export function bundleRelayer(): RelayerProgram {
  // Packages stay imports, so the bundle must lie where they are found from.
  const file = join(repositoryRoot, `node_modules/.cache/settlement/bundles/relayer-test-${process.pid}.mjs`);
  const built = spawnSync(process.execPath, [join(repositoryRoot, 'tools/bundle.mjs'), join(repositoryRoot, 'apps/relayer/src/main.ts'), file], { cwd: repositoryRoot, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`the relayer does not bundle: ${built.stderr}`);
  return { file, remove: () => rmSync(file, { force: true }) };
}

export interface RelayerProcess {
  readonly child: ChildProcess;
  readonly client: RpcClient<typeof RelayerServiceService>;
  readonly grpcAddress: string;
  readonly opsUrl: string;
  /** What it wrote so far, both streams. */
  output(): string;
  /** Resolves with the signal that ended it, or undefined for an exit by itself. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  ready(): Promise<boolean>;
  kill(signal: NodeJS.Signals): void;
  closeClient(): Promise<void>;
}

export async function startRelayerProcess(program: RelayerProgram, environment: Record<string, string>): Promise<RelayerProcess> {
  const [grpcPort, opsPort] = [await freePort(), await freePort()];
  const child = spawn(process.execPath, ['--enable-source-maps', program.file], {
    cwd: repositoryRoot,
    env: { PATH: process.env['PATH'] ?? '', ...environment, GRPC_PORT: String(grpcPort), OPS_PORT: String(opsPort) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-200_000)));
  const leave = (): void => void child.kill('SIGKILL');
  process.once('exit', leave);
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => {
      process.off('exit', leave);
      resolve({ code, signal });
    });
  });
  const client = grpcClient(RelayerServiceService, `127.0.0.1:${grpcPort}`);
  const opsUrl = `http://127.0.0.1:${opsPort}`;
  return {
    child,
    client,
    grpcAddress: `127.0.0.1:${grpcPort}`,
    opsUrl,
    output: () => output,
    ended,
    async ready() {
      try {
        return (await fetch(`${opsUrl}/health/ready`, { signal: AbortSignal.timeout(2_000) })).status === 200;
      } catch {
        // Not listening yet: not ready.
        return false;
      }
    },
    kill: (signal) => void child.kill(signal),
    closeClient: () => Promise.resolve(client.close()),
  };
}

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { z } from 'zod';
import { repositoryRoot } from '@settlement/config/repository-root';

/** Where a running sandbox says what it is; scripts may read it. */
export const sandboxFile = join(repositoryRoot, '.settlement', 'sandbox.json');

const hex = z.string().regex(/^0x[0-9a-f]+$/);

const sandboxSchema = z.object({
  running: z.boolean(),
  feed: z.enum(['postgres', 'kafka']),
  /** `x402` is what its SDKs take as the facilitator's URL; absent in files of earlier versions. */
  api: z.object({ url: z.string(), docs: z.string(), openapi: z.string(), x402: z.string().optional() }),
  adminToken: z.string(),
  merchants: z.array(z.object({ id: z.string(), apiKey: z.string(), payoutAddress: hex })),
  payers: z.array(z.object({ address: hex, privateKey: hex })),
  chain: z.object({
    rpcUrl: z.string(),
    chainId: z.string(),
    vault: hex,
    usdc: hex,
    relayer: hex,
  }),
  /** ERC-4337 and ERC-7677; absent in files of earlier versions. */
  userOperations: z.object({ bundler: z.string(), paymaster: z.string() }).optional(),
  metrics: z.record(z.string(), z.string()),
  grpc: z.record(z.string(), z.string()),
  postgres: z.object({ host: z.string(), port: z.number(), databases: z.record(z.string(), z.string()) }),
  kafka: z.object({ brokers: z.array(z.string()) }).nullable(),
});

export type Sandbox = z.output<typeof sandboxSchema>;

export function writeSandboxFile(sandbox: Sandbox): void {
  mkdirSync(dirname(sandboxFile), { recursive: true });
  writeFileSync(sandboxFile, `${JSON.stringify(sandbox, null, 2)}\n`, { mode: 0o600 });
}

/** The last sandbox of this clone, running or not; undefined when there was none. */
export function readSandboxFile(): Sandbox | undefined {
  if (!existsSync(sandboxFile)) return undefined;
  const result = sandboxSchema.safeParse(JSON.parse(readFileSync(sandboxFile, 'utf8')));
  return result.success ? result.data : undefined;
}

export function runningSandbox(): Sandbox {
  const sandbox = readSandboxFile();
  if (sandbox?.running !== true) throw new OperationalError('NO_SANDBOX', 'no sandbox is running: start one with `npm start` in another terminal', 'not-done');
  return sandbox;
}

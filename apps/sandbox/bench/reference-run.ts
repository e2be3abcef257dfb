import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { toHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc } from '@settlement/chain/rpc';
import { repositoryRoot } from '@settlement/config/repository-root';
import type { EvmAddress } from '@settlement/kernel/address';
import { percentile, round, type BenchResult } from '@settlement/testing/bench';
import { payerOf } from '../src/payer';
import type { System } from '../src/system';

export interface ReferenceOrder {
  readonly concurrency: number;
  readonly nonceManager: boolean;
  readonly seconds: number;
  readonly seed: number;
  readonly operation: 'settle' | 'verify';
}

interface Printed {
  readonly settled: number;
  readonly attempted: number;
  readonly seconds: number;
  readonly latencies: readonly number[];
  readonly refusals: Readonly<Record<string, number>>;
  readonly cpuSeconds: number;
  readonly memoryMiB: number;
}

export interface ReferenceRun extends Printed {
  /** The facilitator's one key. */
  readonly sender: EvmAddress;
  result(subject: string, scenario: string): BenchResult;
}

/** Runs the unmodified x402 reference facilitator on the system's chain, in a process of its own with a key of its own. */
export async function runReference(system: System, { concurrency, nonceManager, seconds, seed, operation }: ReferenceOrder): Promise<ReferenceRun> {
  const payers = Array.from({ length: 200 }, (_, index) => payerOf(seed, `reference/${index}`));
  await system.deployment.mintMany(payers.map((payer) => ({ to: payer.address, units: 10n ** 12n })));
  const key = new Uint8Array(randomBytes(32));
  const sender = addressOfPrivateKey(key);
  await jsonRpc(system.anvil.rpcUrl).call('anvil_setBalance', [sender, `0x${(10n ** 22n).toString(16)}`]);
  const outfile = join(repositoryRoot, 'node_modules/.cache/settlement/bundles/x402-reference.mjs');
  await exitOf(spawn(process.execPath, [join(repositoryRoot, 'tools/bundle.mjs'), join(repositoryRoot, 'apps/sandbox/bench/x402-reference.ts'), outfile], { stdio: 'inherit' }));
  const order = {
    rpcUrl: system.anvil.rpcUrl,
    usdc: system.deployment.usdc,
    facilitatorKey: toHex(key),
    payerKeys: payers.map((payer) => toHex(payer.privateKey)),
    payTo: payerOf(seed, 'reference/merchant').address,
    seconds,
    concurrency,
    nonceManager,
    operation,
  };
  const child = spawn(process.execPath, [outfile, JSON.stringify(order)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await exitOf(child);
  const run = JSON.parse(output) as Printed;
  return {
    ...run,
    sender,
    result: (subject, scenario) => ({
      subject,
      scenario,
      perSecond: round(run.settled / run.seconds, 2),
      p50Ms: Math.round(percentile(run.latencies, 50)),
      p99Ms: Math.round(percentile(run.latencies, 99)),
      seconds: round(run.seconds, 1),
      settled: run.settled,
      refused: run.attempted - run.settled,
      'cpu facilitator': round(run.cpuSeconds / run.seconds, 2),
      'MiB facilitator': Math.round(run.memoryMiB),
    }),
  };
}

function exitOf(child: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve, reject) => child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${child.spawnfile} ended with ${code}`)))));
}

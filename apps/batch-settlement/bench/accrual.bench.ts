// node tools/run.mjs exec apps/batch-settlement/bench/accrual.bench.ts [payments]
import { formatBench, machine, percentile, round, type BenchDocument } from '@settlement/testing/bench';
import { CHAIN, collected, registered, startLedger, testMerchant, TOKEN } from '../test/ledger-fixture';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { sealBatches } from '../src/batch/seal.store';

const MERCHANTS = 20;
const BATCH = 500;
/** As many transactions at once as a feed of four partitions delivers. */
const PARTITIONS = 4;

/** How fast collected payments become postings, events and balances, on a Postgres of its own with fsync on. */
export async function runAccrualBench(payments: number): Promise<BenchDocument> {
  const ledger = await startLedger();
  try {
    const merchants = Array.from({ length: MERCHANTS }, testMerchant);
    await ledger.gateway(...merchants.map(registered));
    const batches = Array.from({ length: Math.ceil(payments / BATCH) }, (_, b) =>
      Array.from({ length: BATCH }, (_, i) => collected(merchants[(b * BATCH + i) % MERCHANTS] ?? testMerchant(), 1_000_000n)),
    );
    const total = batches.length * BATCH;
    const waitsMs: number[] = [];
    const startedMs = performance.now();
    await Promise.all(
      Array.from({ length: PARTITIONS }, async () => {
        for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
          const beganMs = performance.now();
          await ledger.gateway(...batch);
          waitsMs.push(performance.now() - beganMs);
        }
      }),
    );
    const accrualMs = performance.now() - startedMs;
    const sealStartedMs = performance.now();
    const sealed = await sealBatches(ledger.store, { chainId: CHAIN, token: TOKEN, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: 1n, commandId: '' });
    const sealMs = performance.now() - sealStartedMs;
    if (sealed.length !== 1 || (await ledger.sum()) !== 0n) throw new Error('the books are wrong, the figures mean nothing');
    return {
      bench: 'accrual',
      machine: machine(),
      results: [
        { subject: 'ours', scenario: `accrual ×${BATCH}, ${PARTITIONS} at once`, perSecond: round((total / accrualMs) * 1_000, 0), p50Ms: round(percentile(waitsMs, 50), 1), p99Ms: round(percentile(waitsMs, 99), 1) },
        { subject: 'ours', scenario: `seal of up to 10,000 payments, ${MERCHANTS} merchants`, p50Ms: round(sealMs, 1) },
      ],
      ratios: {},
    };
  } finally {
    await ledger.close();
  }
}

const [asked] = process.argv.slice(2);
process.stdout.write(formatBench(await runAccrualBench(asked === undefined ? 20_000 : Number.parseInt(asked, 10))));

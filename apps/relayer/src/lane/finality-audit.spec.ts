import type { Append, AppendResult } from '@settlement/event-store/port';
import { ReplacementKind } from '@settlement/proto/relayer/v1/events';
import { describe, expect, it } from 'vitest';
import type { Receipt } from '../ports/chain-reader';
import type { TransactionEvent } from '../relayer.events';
import { fold } from '@settlement/kernel/decider';
import { transactionDecider } from '../transaction/transaction.decider';
import { FinalityAudit } from './finality-audit';
import type { OpenTransaction } from './lane-book';
import { LaneMemory, type LaneParts } from './lane-parts';

const DEPTH = 3n;
const ABOUT = { transactionId: 't', chainId: 'eip155:1' };
const events: readonly TransactionEvent[] = [
  { type: 'TransactionPlanned', ...ABOUT, keyAddress: '0xkey', nonce: 1n, to: '0xvault', data: '0x01', gasLimit: 9n, intentIds: ['a'], plannedAtNs: 1n, fencingToken: 1n, purpose: 1, valueWei: '' },
  { type: 'TransactionSigned', transactionId: 't', transactionHash: '0xh0', raw: '0xr0', feePerGasWeiMax: '80', priorityFeePerGasWeiMax: '8', signedAtNs: 1n, attempt: 0 },
  { type: 'ReplacementPlanned', transactionId: 't', attempt: 1, kind: ReplacementKind.REPLACEMENT_KIND_FEES, feePerGasWeiMax: '91', priorityFeePerGasWeiMax: '10', why: '', plannedAtNs: 1n, cancelledIntentIds: [] },
  { type: 'TransactionSigned', transactionId: 't', transactionHash: '0xh1', raw: '0xr1', feePerGasWeiMax: '91', priorityFeePerGasWeiMax: '10', signedAtNs: 1n, attempt: 1 },
  { type: 'TransactionIncluded', ...ABOUT, transactionHash: '0xh1', blockNumber: 10n, blockHash: '0xb10', status: 1, includedAtNs: 1n, outcomes: [] },
  { type: 'TransactionFinalized', ...ABOUT, transactionHash: '0xh1', blockNumber: 10n, blockHash: '0xb10', gasUsed: 1n, gasPriceWei: '1', outcomes: [], finalizedAtNs: 1n, attempt: 1, returnedIntentIds: ['a'] },
];
const receipt = (blockNumber: bigint, blockHash: string): Receipt => ({ transactionHash: '0xh1', blockNumber, blockHash, status: 1, gasUsed: 1n, gasPriceWei: 1n, logs: [] });
const final: OpenTransaction = { transactionId: 't', streamId: 'transaction-t', nonce: 1n, intents: [], lifecycle: fold(transactionDecider, events), version: 6n, broadcastAtMs: undefined, receipt: receipt(10n, '0xb10') };
const head = (number: bigint) => ({ number, hash: `0xb${number}`, timestampS: 0n });

/** A chain whose block 10 is `hash`, and that holds the transaction where `found` says. */
function watched() {
  const chain = { hashes: new Map<bigint, string>([[10n, '0xb10']]), found: undefined as Receipt | undefined };
  const seen = { sent: [] as string[], appends: [] as Append[], violations: 0 };
  const memory = new LaneMemory();
  const silent = { error: () => undefined, fatal: () => undefined };
  const parts = {
    settings: { finalityDepth: DEPTH },
    book: { chainId: 'eip155:1', laneId: 'lane' },
    reader: {
      blockHashes: (numbers: readonly bigint[]) => Promise.resolve(new Map(numbers.map((it) => [it, chain.hashes.get(it)]))),
      receipts: (hashes: readonly string[]) => Promise.resolve(new Map(hashes.map((it) => [it, chain.found]))),
    },
    broadcaster: { broadcast: (raws: readonly string[]) => Promise.resolve(raws.map((raw) => (seen.sent.push(raw), { outcome: 'accepted' }))) },
    log: { append: (_: unknown, appends: readonly Append[]) => Promise.resolve(appends.map((it): AppendResult => (seen.appends.push(it), { outcome: 'appended', streamVersion: 7n } as never))) },
    ownership: { held: () => ({ fencingToken: 1n }) },
    clock: { nowNs: () => 9n },
    metrics: { finalityViolated: () => (seen.violations += 1) },
    logger: silent,
  };
  const audit = new FinalityAudit(parts as never as LaneParts, memory);
  audit.watch(final);
  return { audit, chain, seen, memory };
}

describe('a final transaction', () => {
  it('is left alone while its block stands', async () => {
    const { audit, seen, memory } = watched();
    await audit.check(head(20n));
    expect([seen.violations, seen.sent, memory.distrust]).toEqual([0, [], undefined]);
  });

  it('that is mined again in another block is counted, and watched on there', async () => {
    const { audit, chain, seen, memory } = watched();
    chain.hashes = new Map([[10n, '0xc10'], [11n, '0xc11']]);
    chain.found = receipt(11n, '0xc11');
    await audit.check(head(20n));
    expect([seen.violations, seen.sent, memory.distrust]).toEqual([1, [], undefined]);
    await audit.check(head(21n));
    expect(seen.violations).toBe(1);
  });

  it('that is gone stops the lane and goes out again, as it was final: the very attempt', async () => {
    const { audit, chain, seen, memory } = watched();
    chain.hashes = new Map([[10n, '0xc10']]);
    await audit.check(head(12n));
    expect(memory.distrust?.detail).toContain('0xh1 is in no block');
    expect([seen.violations, seen.sent, seen.appends]).toEqual([1, ['0xr1'], []]);
    // It comes back before anybody was told: nothing has happened.
    chain.hashes = new Map([[10n, '0xb10']]);
    await audit.check(head(13n));
    expect(memory.distrust).toBeUndefined();
  });

  it('that is gone when the new chain is as deep is contradicted on record, once, and the lane stays out', async () => {
    const { audit, chain, seen, memory } = watched();
    chain.hashes = new Map([[10n, '0xc10']]);
    for (const number of [13n, 14n, 15n]) await audit.check(head(number));
    expect(seen.appends).toHaveLength(1);
    expect(seen.appends[0]).toMatchObject({ streamId: 'transaction-t', expectedVersion: 6n });
    expect(seen.sent).toEqual(['0xr1', '0xr1', '0xr1']);
    chain.hashes = new Map([[10n, '0xb10']]);
    await audit.check(head(16n));
    expect(memory.distrust).toBeDefined();
  });
});

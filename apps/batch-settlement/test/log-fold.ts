import { fold } from '@settlement/kernel/decider';
import { batchSettlementCodec } from '../src/batch-settlement.codec';
import type { BatchEvent, BatchSettlementEvent, RefundEvent } from '../src/batch-settlement.events';
import { batchDecider } from '../src/batch/batch.decider';
import { refundDecider } from '../src/refund/refund.decider';
import type { Ledger } from './ledger-fixture';

/** Reads the whole log, folds it, and names everything in which the tables say something else (I6). */
export async function differencesFromLog(ledger: Ledger): Promise<readonly string[]> {
  const events: BatchSettlementEvent[] = [];
  for (let partition = 0; partition < ledger.store.partitions; partition += 1) {
    for (let after = 0n; ; ) {
      const page = await ledger.store.readPartition(partition, after, 1_000);
      events.push(...page.map((event) => batchSettlementCodec.decode(event)));
      const last = page.at(-1);
      if (last === undefined) break;
      after = last.position;
    }
  }

  const postings = new Map<string, bigint>();
  const batches = new Map<string, BatchEvent[]>();
  const refunds = new Map<string, RefundEvent[]>();
  const holds = new Set<string>();
  for (const event of events) {
    if (event.type === 'JournalPosted') for (const p of event.postings) postings.set(p.account, (postings.get(p.account) ?? 0n) + BigInt(p.amountMinor));
    else if (event.type === 'PayoutHeld') holds.add(event.merchantId);
    else if (event.type === 'PayoutHoldCleared') holds.delete(event.merchantId);
    else if (event.type === 'RefundReserved' || event.type === 'RefundSubmitted' || event.type === 'RefundPaid' || event.type === 'RefundRejected' || event.type === 'RefundDisputed') {
      refunds.set(event.refundId, [...(refunds.get(event.refundId) ?? []), event]);
    } else if ('batchId' in event) batches.set(event.batchId, [...(batches.get(event.batchId) ?? []), event]);
  }

  const differences: string[] = [];
  const compare = (what: string, log: ReadonlyMap<string, string>, table: ReadonlyMap<string, string>): void => {
    for (const key of new Set([...log.keys(), ...table.keys()])) {
      if (log.get(key) !== table.get(key)) differences.push(`${what} ${key}: log ${log.get(key) ?? 'nothing'}, table ${table.get(key) ?? 'nothing'}`);
    }
  };
  const table = async (text: string): Promise<ReadonlyMap<string, string>> =>
    new Map((await ledger.rows<{ key: string; value: string }>(text)).map((row) => [row.key, row.value]));

  compare('balance of', new Map([...postings].map(([account, sum]) => [account, sum.toString()])), await table('select account as key, balance::text as value from ledger.account_balance'));
  compare('postings of', new Map([...postings].map(([account, sum]) => [account, sum.toString()])), await table('select account as key, sum(amount)::text as value from ledger.posting group by 1'));
  compare('batch', new Map([...batches].map(([id, its]) => [id, fold(batchDecider, its).status])), await table('select batch_id as key, state as value from ledger.batch'));
  compare('refund', new Map([...refunds].map(([id, its]) => [id, fold(refundDecider, its).status])), await table('select refund_id as key, state as value from ledger.refund'));
  compare('hold of', new Map([...holds].map((id) => [id, 'held'])), await table(`select merchant_id as key, 'held' as value from ledger.payout_hold`));
  return differences;
}

import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { IntentExpired, IntentKind, TransactionFinalized, TransactionIncluded, TransactionReorged, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { executeBatch, loadBatches } from './batch/batch.store';
import { appendAll } from './ledger/ledger.store';
import { holdMerchants } from './payout/payout-hold.store';
import { reasonCode } from './reason-code';
import { executeRefunds, loadRefunds, type RefundStep } from './refund/refund.store';

export const RELAYER_FACTS = ['TransactionIncluded', 'TransactionReorged', 'TransactionFinalized', 'IntentExpired'] as const;

/** The chain took back what counted as final. */
const FINALITY_VIOLATED = 'FINALITY_VIOLATED';

interface SettleOutcome {
  readonly batchId: string;
  readonly outcome: IntentOutcome | undefined;
  readonly code: string;
  readonly blockNumber: bigint;
  readonly transactionHash: string;
  readonly traceparent: string;
  readonly factVersion?: bigint;
}

/** The chain took back a transaction of a batch or refund. */
interface TakenBack {
  readonly subjectId: string;
  readonly transactionHash: string;
  readonly factVersion: bigint;
}

/**
 * What becomes final on the chain ends batches and refunds. What is only in a block, or has been taken back, moves no money: the
 * batch waits, and says for what. Collected payments are not taken from here: they come as the
 * gateway's facts, so that one service alone decides what a payment is.
 *
 * Crash between finality and posting: the watermark stands before the fact, which is delivered again; the streams' versions
 * make a second posting a conflict.
 */
export function relayerFacts(store: EventStore, clock: Clock, backoffNs: bigint): FeedProjection {
  return {
    async apply(tx: Transaction, events: readonly RecordedEvent[]) {
      const settled: SettleOutcome[] = [];
      const refunds: { readonly refundId: string; readonly step: Omit<RefundStep, 'refund'> }[] = [];
      const nowNs = clock.nowNs();
      const waits = new Map<string, string>();
      const takenBack: TakenBack[] = [];
      for (const { type, payload, traceparent, streamVersion: factVersion } of events) {
        if (type === 'TransactionIncluded') for (const batchId of settledBy(TransactionIncluded.decode(payload).outcomes)) waits.set(batchId, 'NOT_FINAL');
        else if (type === 'TransactionReorged') {
          const { outcomes, transactionHash } = TransactionReorged.decode(payload);
          for (const batchId of settledBy(outcomes)) waits.set(batchId, 'REORGED');
          takenBack.push(...outcomes.map(({ subjectId }) => ({ subjectId, transactionHash, factVersion })));
        } else if (type === 'TransactionFinalized') {
          const { blockNumber, transactionHash: ownHash, outcomes } = TransactionFinalized.decode(payload);
          for (const outcome of outcomes) {
            const code = reasonCode(outcome.reason);
            // Reconciliation looks for the transaction that moved the money, which an earlier one or somebody else's may be.
            const transactionHash = outcome.executedByTransactionHash === '' ? ownHash : outcome.executedByTransactionHash;
            const place = { blockNumber, transactionHash, traceparent };
            if (outcome.kind === IntentKind.INTENT_KIND_SETTLE) settled.push({ batchId: outcome.subjectId, outcome, code, ...place, factVersion });
            else if (outcome.kind === IntentKind.INTENT_KIND_REFUND) {
              refunds.push({ refundId: outcome.subjectId, step: { command: refundCommand(outcome, code, transactionHash, nowNs), ...place, factVersion } });
            }
          }
        } else if (type === 'IntentExpired') {
          const { subjectId, reason } = IntentExpired.decode(payload);
          const place = { blockNumber: 0n, transactionHash: '', traceparent };
          const code = reasonCode(reason);
          if (subjectId.startsWith('bat_')) settled.push({ batchId: subjectId, outcome: undefined, code, ...place });
          else if (subjectId.startsWith('ref_')) refunds.push({ refundId: subjectId, step: { command: { type: 'RejectRefund', code, nowNs }, ...place } });
        }
      }
      await sayWhy(tx, waits);
      if (settled.length === 0 && refunds.length === 0 && takenBack.length === 0) return;
      const appends: Append[] = [];
      const batches = await loadBatches(store, settled.map((s) => s.batchId));
      for (const one of settled) {
        const batch = batches.get(one.batchId);
        if (batch === undefined || batch.state.status === 'none') throw unknownSubject(one.batchId);
        appends.push(...(await executeBatch(tx, batch, commandOf(one, nowNs), { ...one, notBeforeNs: nowNs + backoffNs }, one.traceparent)));
      }
      const loaded = await loadRefunds(store, refunds.map((r) => r.refundId));
      const steps = refunds.map(({ refundId, step }): RefundStep => {
        const refund = loaded.get(refundId);
        if (refund === undefined || refund.state.status === 'none') throw unknownSubject(refundId);
        return { ...step, refund };
      });
      appends.push(...(await executeRefunds(tx, steps)), ...(await holdUnpaid(tx, takenBack, nowNs)));
      await appendAll(tx, appends);
    },
  };
}

function settledBy(outcomes: readonly IntentOutcome[]): readonly string[] {
  return outcomes.filter(({ kind }) => kind === IntentKind.INTENT_KIND_SETTLE).map(({ subjectId }) => subjectId);
}

/** For whoever looks at the batch. A batch that is over is not touched: its end may come before a word about its blocks. */
async function sayWhy(tx: Transaction, waits: ReadonlyMap<string, string>): Promise<void> {
  if (waits.size === 0) return;
  await tx.query(
    `update ledger.batch b set reason = w.reason from unnest($1::text[], $2::text[]) w (batch_id, reason)
      where b.batch_id = w.batch_id and b.state in ('screened', 'submitted')`,
    [[...waits.keys()], [...waits.values()]],
  );
}

/**
 * Payouts and refunds that were final and are not any more: whether the money has moved is not known, so their merchants are kept
 * out of batches until a person has looked. Reconciliation shows the difference meanwhile. A word that is older than the final
 * one takes nothing back.
 */
async function holdUnpaid(tx: Transaction, takenBack: readonly TakenBack[], nowNs: bigint): Promise<readonly Append[]> {
  if (takenBack.length === 0) return [];
  const values = [takenBack.map((t) => t.subjectId), takenBack.map((t) => t.transactionHash), takenBack.map((t) => t.factVersion.toString())];
  const news = 'unnest($1::text[], $2::text[], $3::bigint[]) t (subject_id, hash, version)';
  const violated = await tx.query<{ batch_id: string; merchant_id: string; subject_id: string; chain_id: string; token: string }>(
    `select b.batch_id, p.merchant_id, p.payout_id as subject_id, b.chain_id, b.token from ${news}
       join ledger.batch b on b.batch_id = t.subject_id and b.state = 'settled' and b.transaction_hash = t.hash and b.fact_version > 0 and b.fact_version < t.version
       join ledger.payout p on p.batch_id = b.batch_id and p.state = 'paid'
     union all
     select '', r.merchant_id, r.refund_id, r.chain_id, r.token from ${news}
       join ledger.refund r on r.refund_id = t.subject_id and r.state = 'paid' and r.transaction_hash = t.hash and r.fact_version > 0 and r.fact_version < t.version
     order by 3`,
    values,
  );
  if (violated.length === 0) return [];
  await tx.query('update ledger.batch set reason = $2 where batch_id = any($1::text[])', [violated.map((v) => v.batch_id), FINALITY_VIOLATED]);
  return holdMerchants(
    tx,
    violated.map((v) => ({ merchantId: v.merchant_id, chainId: v.chain_id, token: v.token, payoutId: v.subject_id, code: FINALITY_VIOLATED })),
    nowNs,
  );
}

function refundCommand({ executed, reason }: IntentOutcome, code: string, transactionHash: string, nowNs: bigint): RefundStep['command'] {
  if (executed) return { type: 'RecordRefundPaid', transactionHash, nowNs };
  // As below for a batch: the vault has paid under this key before.
  if (reason === IntentReason.INTENT_REASON_DUPLICATE) return { type: 'DisputeRefund', code, transactionHash, nowNs };
  return { type: 'RejectRefund', code, nowNs };
}

function commandOf({ outcome, code, blockNumber, transactionHash }: SettleOutcome, nowNs: bigint) {
  if (outcome === undefined) return { type: 'AbandonBatch', code, nowNs } as const;
  if (outcome.executed) {
    const payouts = outcome.payouts.map(({ payoutId, paid, reason }) => ({ payoutId, paid, code: paid ? '' : reasonCode(reason) }));
    return { type: 'RecordExecution', transactionHash, blockNumber, payouts, nowNs } as const;
  }
  // The vault has seen the key: money may have moved in another transaction. Giving it back here could pay twice.
  if (outcome.reason === IntentReason.INTENT_REASON_DUPLICATE) return { type: 'DisputeBatch', code, transactionHash, nowNs } as const;
  return { type: 'AbandonBatch', code, nowNs } as const;
}

function unknownSubject(subjectId: string): InvariantViolated {
  return new InvariantViolated('UNKNOWN_SUBJECT', 'the relayer finished something that this service never asked for', { subjectId });
}

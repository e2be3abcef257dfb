import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { IntentExpired, IntentKind, TransactionFinalized, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { executeBatch, loadBatches } from './batch/batch.store';
import { appendAll } from './ledger/ledger.store';
import { reasonCode } from './reason-code';
import { executeRefunds, loadRefunds, type RefundStep } from './refund/refund.store';

export const RELAYER_FACTS = ['TransactionFinalized', 'IntentExpired'] as const;

interface SettleOutcome {
  readonly batchId: string;
  readonly outcome: IntentOutcome | undefined;
  readonly code: string;
  readonly blockNumber: bigint;
  readonly transactionHash: string;
  readonly traceparent: string;
}

/**
 * What becomes final on the chain ends batches and refunds. Collected payments are not taken from here: they come as the
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
      for (const { type, payload, traceparent } of events) {
        if (type === 'TransactionFinalized') {
          const { blockNumber, transactionHash, outcomes } = TransactionFinalized.decode(payload);
          for (const outcome of outcomes) {
            const code = reasonCode(outcome.reason);
            const place = { blockNumber, transactionHash, traceparent };
            if (outcome.kind === IntentKind.INTENT_KIND_SETTLE) settled.push({ batchId: outcome.subjectId, outcome, code, ...place });
            else if (outcome.kind === IntentKind.INTENT_KIND_REFUND) {
              refunds.push({ refundId: outcome.subjectId, step: { command: refundCommand(outcome, code, transactionHash, nowNs), ...place } });
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
      if (settled.length === 0 && refunds.length === 0) return;
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
      appends.push(...(await executeRefunds(tx, steps)));
      await appendAll(tx, appends);
    },
  };
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

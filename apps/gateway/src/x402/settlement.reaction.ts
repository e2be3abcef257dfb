import type { RecordedEvent } from '@settlement/event-store/event';
import type { FeedReaction } from '@settlement/feed/feed-consumer';
import { unreachable } from '@settlement/kernel/unreachable';
import { IntentExpired, IntentKind, TransactionFinalized, TransactionIncluded, TransactionReorged, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { intentReasonCode } from '../payment/reason-codes';
import type { ExecutionFinder } from './execution-finder';
import { soughtOf } from './execution-watch';
import { executionReason, USED_CODES } from './outcome-reasons';
import type { SettlementCommand } from './settlement.decider';
import { parseSettlementId, settlementStream, type SettlementId } from './settlement-id';
import type { SettlementLog } from './settlement-log';
import type { SettlementPipeline } from './settlement-pipeline';

/** Of the own log: what was accepted is taken on although its caller may be gone. */
export const SETTLEMENT_STARTS = ['X402PaymentAccepted'] as const;

/**
 * Settles what nobody waits for any more: after a crash the accepted payments of the log go on here. While their callers are
 * there, this joins the run that those have begun. A peer that is away throws, the watermark stays, and they are tried again;
 * held and refused ones are ends of their own and never tried.
 */
export function settlementResumption(pipeline: SettlementPipeline): FeedReaction<undefined> {
  return {
    async prepare(events) {
      const ids = new Set(events.flatMap(({ streamId }) => settlementIdOfStream(streamId) ?? []));
      // All have ended before one's failure is thrown, so that none goes on behind the consumer's back.
      const results = await Promise.allSettled([...ids].map((settlementId) => pipeline.advance(settlementId)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      return undefined;
    },
    // What there is to record was recorded with its own expected version.
    apply: () => Promise.resolve(),
  };
}

/** What this service wants to know of the relayer's log about direct payments. */
export const EXECUTION_FACTS = ['TransactionIncluded', 'TransactionFinalized', 'TransactionReorged', 'IntentExpired'] as const;

type Fact =
  | { readonly kind: 'included' | 'final'; readonly settlementId: SettlementId; readonly outcome: IntentOutcome; readonly transactionHash: string; readonly blockNumber: bigint }
  | { readonly kind: 'reorged'; readonly settlementId: SettlementId; readonly transactionHash: string }
  | { readonly kind: 'expired'; readonly settlementId: SettlementId; readonly code: string };

/** The chain's word on settlements whose callers have gone, and on those that it takes back. */
export function executionReaction(log: SettlementLog, finder: ExecutionFinder): FeedReaction<undefined> {
  return {
    async prepare(events) {
      // One after the other: facts of one settlement stand in their order.
      for (const fact of events.flatMap(factsOf)) await record(fact, log, finder);
      return undefined;
    },
    apply: () => Promise.resolve(),
  };
}

async function record(fact: Fact, log: SettlementLog, finder: ExecutionFinder): Promise<void> {
  const { state } = await log.readOne(fact.settlementId);
  if (state.status === 'none') return;
  const nowNs = log.clock.nowNs();
  const commands: SettlementCommand[] = [];
  switch (fact.kind) {
    case 'reorged':
      commands.push({ type: 'RecordReorg', transactionHash: fact.transactionHash, nowNs });
      break;
    case 'expired':
      commands.push(await afterFailure(fact.code));
      break;
    case 'included':
    case 'final': {
      const { outcome, transactionHash, blockNumber } = fact;
      if (outcome.executed) {
        const foreign = outcome.executedByTransactionHash !== '' && outcome.executedByTransactionHash !== transactionHash;
        const execution = { transactionHash: foreign ? outcome.executedByTransactionHash : transactionHash, blockNumber };
        // Final in another transaction than the one that was told of: the earlier one is no more.
        if (fact.kind === 'final' && state.status === 'settled' && state.execution.transactionHash !== execution.transactionHash) {
          commands.push({ type: 'RecordReorg', transactionHash: state.execution.transactionHash, nowNs });
        }
        commands.push({ type: 'RecordExecution', execution, foreign, answered: state.status === 'settled' && state.answered, nowNs });
      } else if (fact.kind === 'final') commands.push(await afterFailure(intentReasonCode(outcome.reason)));
      break;
    }
    default:
      unreachable(fact);
  }
  for (const command of commands) await log.decideOne(fact.settlementId, () => command);

  async function afterFailure(code: string): Promise<SettlementCommand> {
    if (state.status === 'none') throw new Error('unreachable');
    const { terms } = state;
    const execution = USED_CODES.has(code) ? await finder.find(soughtOf(terms)) : undefined;
    if (execution !== undefined) return { type: 'RecordExecution', execution, foreign: true, answered: false, nowNs };
    return { type: 'Refuse', stage: 'execution', reason: executionReason(code, terms.authorization.method), code, nowNs };
  }
}

function factsOf(event: RecordedEvent): readonly Fact[] {
  switch (event.type) {
    case 'TransactionIncluded': {
      const { outcomes, transactionHash, blockNumber } = TransactionIncluded.decode(event.payload);
      return direct(outcomes).map(({ settlementId, outcome }) => ({ kind: 'included', settlementId, outcome, transactionHash, blockNumber }));
    }
    case 'TransactionFinalized': {
      const { outcomes, transactionHash, blockNumber } = TransactionFinalized.decode(event.payload);
      return direct(outcomes).map(({ settlementId, outcome }) => ({ kind: 'final', settlementId, outcome, transactionHash, blockNumber }));
    }
    case 'TransactionReorged': {
      const { outcomes, transactionHash } = TransactionReorged.decode(event.payload);
      return direct(outcomes).map(({ settlementId }) => ({ kind: 'reorged', settlementId, transactionHash }));
    }
    case 'IntentExpired': {
      const { subjectId, reason } = IntentExpired.decode(event.payload);
      const settlementId = parseSettlementId(subjectId);
      return settlementId === undefined ? [] : [{ kind: 'expired', settlementId, code: intentReasonCode(reason) }];
    }
    default:
      return [];
  }
}

function direct(outcomes: readonly IntentOutcome[]): readonly { readonly settlementId: SettlementId; readonly outcome: IntentOutcome }[] {
  return outcomes.flatMap((outcome) => {
    if (outcome.kind !== IntentKind.INTENT_KIND_TRANSFER && outcome.kind !== IntentKind.INTENT_KIND_PERMIT2_TRANSFER) return [];
    const settlementId = parseSettlementId(outcome.subjectId);
    return settlementId === undefined ? [] : [{ settlementId, outcome }];
  });
}

function settlementIdOfStream(streamId: string): SettlementId | undefined {
  const settlementId = parseSettlementId(streamId.replace(/^x402-/, 'x402_'));
  return settlementId !== undefined && settlementStream(settlementId) === streamId ? settlementId : undefined;
}

import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import { fold } from '@settlement/kernel/decider';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { BatchEvent } from '../batch-settlement.events';
import { batchSettlementCodec } from '../batch-settlement.codec';
import { payoutGivenBackLines, payoutPaidLines } from '../ledger/journals';
import type { Line } from '../ledger/journal.decider';
import { appendOf, insertPostings, journalAppend, journalOf } from '../ledger/ledger.store';
import { holdsMerchant } from '../payout/payout-hold.policy';
import { holdMerchants } from '../payout/payout-hold.store';
import { batchDecider, type BatchCommand, type BatchState } from './batch.decider';

export interface LoadedBatch {
  readonly batchId: string;
  readonly version: bigint;
  readonly state: BatchState;
}

const BATCH_EVENTS: ReadonlySet<string> = new Set<BatchEvent['type']>([
  'BatchSealed',
  'BatchScreened',
  'BatchSubmitted',
  'PayoutPaid',
  'PayoutFailed',
  'BatchSettled',
  'BatchAbandoned',
  'BatchDisputed',
]);

function isBatchEvent(event: { readonly type: string }): event is BatchEvent {
  return BATCH_EVENTS.has(event.type);
}

/** Each batch as the fold of its stream. */
export async function loadBatches(store: EventStore, batchIds: readonly string[]): Promise<ReadonlyMap<string, LoadedBatch>> {
  const streams = await store.readStreams(batchIds.map((id) => `batch-${id}`));
  return new Map(
    batchIds.map((batchId) => {
      const recorded = streams.get(`batch-${batchId}`) ?? [];
      const events = recorded.map((event) => batchSettlementCodec.decode(event)).filter(isBatchEvent);
      return [batchId, { batchId, version: BigInt(recorded.length), state: fold(batchDecider, events) }];
    }),
  );
}

/** Where a command's money movements stand on the chain. */
interface Place {
  readonly blockNumber: bigint;
  readonly transactionHash: string;
  /** No batch of this token is sealed before; set when one was refused as a whole, so that it is not tried in a circle. */
  readonly notBeforeNs?: bigint;
  /** Of the stream of the relayer's transaction that says so. */
  readonly factVersion?: bigint;
}

/**
 * Decides and writes the effects of one batch command; answers the appends, which the caller adds last in its transaction.
 * Throws `InvariantViolated` when the command does not fit the batch: a fact of the chain that cannot be is never skipped.
 */
export async function executeBatch(
  tx: Transaction,
  batch: LoadedBatch,
  command: Exclude<BatchCommand, { type: 'SealBatch' }>,
  place: Place = { blockNumber: 0n, transactionHash: '' },
  traceparent = '',
): Promise<readonly Append[]> {
  const { batchId, version, state } = batch;
  const decision = batchDecider.decide(command, state);
  if (decision.kind === 'rejected') {
    throw new InvariantViolated(decision.rejection.code, `${command.type} does not fit batch ${batchId}`, { batchId, ...decision.rejection });
  }
  if (decision.events.length === 0 || !('open' in state)) return [];
  const { chainId, token } = state;
  const { nowNs } = command;

  const ended = decision.events.filter((e) => e.type === 'PayoutPaid' || e.type === 'PayoutFailed');
  const lines: Line[] = [];
  for (const event of ended) {
    const movement = { merchantId: event.merchantId, chainId, token, amount: BigInt(event.amount?.amountMinor ?? '0') };
    lines.push(...(event.type === 'PayoutPaid' ? payoutPaidLines(movement) : payoutGivenBackLines(movement)));
  }
  const failed = ended.filter((e) => e.type === 'PayoutFailed');
  const givenBack: GivenBack[] = failed.map(({ payoutId, code }) => ({ payoutId, code, state: holdsMerchant(code) ? 'held' : 'failed' }));
  const abandoned = decision.events.find((e) => e.type === 'BatchAbandoned');
  if (abandoned !== undefined) {
    const over = new Set(ended.map((e) => e.payoutId));
    for (const [payoutId, { merchantId, amountMinor }] of state.open) {
      if (over.has(payoutId)) continue;
      lines.push(...payoutGivenBackLines({ merchantId, chainId, token, amount: BigInt(amountMinor) }));
      // The batch was refused, not this merchant's payout: it goes into the next one.
      givenBack.push({ payoutId, code: abandoned.code, state: 'failed' });
    }
  }

  const appends: Append[] = [
    appendOf(`batch-${batchId}`, version, `${command.type}-${batchId}`, decision.events, traceparent),
  ];
  if (lines.length > 0) {
    const journal = journalOf({
      journalId: `${batchId}-${command.type === 'RecordScreening' ? 'screened' : 'ended'}`,
      cause: `batch ${batchId} ${command.type === 'RecordScreening' ? 'screened' : 'ended'}`,
      lines,
      nowNs,
      blockNumber: place.blockNumber,
      transactionHash: place.transactionHash,
    });
    await insertPostings(tx, [journal]);
    appends.push(journalAppend(journal, [], traceparent));
  }
  await giveBack(tx, givenBack, nowNs);
  const paid = ended.filter((e) => e.type === 'PayoutPaid').map((e) => e.payoutId);
  if (paid.length > 0) {
    await tx.query(
      `update ledger.payout set state = 'paid', transaction_hash = $2, block_number = $3, ended_at_ns = $4 where payout_id = any($1::text[])`,
      [paid, place.transactionHash, place.blockNumber.toString(), nowNs.toString()],
    );
  }
  appends.push(
    ...(await holdMerchants(
      tx,
      failed.filter((e) => holdsMerchant(e.code)).map(({ merchantId, payoutId, code }) => ({ merchantId, chainId, token, payoutId, code })),
      nowNs,
    )),
  );
  await recordState(tx, batchId, decision.events, place, nowNs);
  if (abandoned !== undefined || failed.some((e) => !holdsMerchant(e.code))) {
    await tx.query(
      'update ledger.batch_sequence set not_before_ns = greatest(not_before_ns, $3::bigint) where chain_id = $1 and token = $2',
      [chainId, token, (place.notBeforeNs ?? nowNs).toString()],
    );
  }
  return appends;
}

interface GivenBack {
  readonly payoutId: string;
  readonly code: string;
  readonly state: 'held' | 'failed';
}

/** The payouts' payments are free for another payout. */
async function giveBack(tx: Transaction, payouts: readonly GivenBack[], nowNs: bigint): Promise<void> {
  if (payouts.length === 0) return;
  const ids = payouts.map((p) => p.payoutId);
  await tx.query(
    `update ledger.payout p set state = f.state, code = f.code, ended_at_ns = $4
       from unnest($1::text[], $2::text[], $3::text[]) f (payout_id, state, code) where p.payout_id = f.payout_id`,
    [ids, payouts.map((p) => p.state), payouts.map((p) => p.code), nowNs.toString()],
  );
  await tx.query(`update ledger.accrual set payout_id = '' where payout_id = any($1::text[])`, [ids]);
}

async function recordState(tx: Transaction, batchId: string, events: readonly BatchEvent[], place: Place, nowNs: bigint): Promise<void> {
  for (const event of events) {
    switch (event.type) {
      case 'BatchScreened':
        await tx.query(`update ledger.batch set state = 'screened', reason = '' where batch_id = $1`, [batchId]);
        break;
      case 'BatchSubmitted':
        await tx.query(`update ledger.batch set state = 'submitted', reason = '' where batch_id = $1`, [batchId]);
        break;
      case 'BatchSettled':
        await tx.query(
          `update ledger.batch set state = 'settled', reason = '', transaction_hash = $2, block_number = $3, settled_at_ns = $4, fact_version = $5 where batch_id = $1`,
          [batchId, place.transactionHash, place.blockNumber.toString(), nowNs.toString(), (place.factVersion ?? 0n).toString()],
        );
        break;
      case 'BatchAbandoned':
      case 'BatchDisputed':
        await tx.query('update ledger.batch set state = $2, reason = $3, transaction_hash = $4, settled_at_ns = $5 where batch_id = $1', [
          batchId,
          event.type === 'BatchAbandoned' ? 'abandoned' : 'disputed',
          event.code,
          place.transactionHash,
          nowNs.toString(),
        ]);
        break;
      default:
        // Sealing and single payouts are written where they are decided.
        break;
    }
  }
}

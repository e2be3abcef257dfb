import type { EventStore } from '@settlement/event-store/port';
import type { Clock } from '@settlement/kernel/time';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { derivedId, siblingId } from '../derived-id';
import { appendAll } from '../ledger/ledger.store';
import type { Relay } from '../ports/relay';
import type { Screening } from '../ports/screening';
import type { Sponsorship } from '../ports/sponsorship';
import { executeBatch, loadBatches, type LoadedBatch } from './batch.store';
import { closeReason, type BatchLimits, type Payable } from './close.policy';
import { sealBatches } from './seal.store';

export interface BatchDriverOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly screening: Screening;
  readonly sponsorship: Sponsorship;
  readonly relay: Relay;
  readonly limits: BatchLimits;
  /** Pays for the gas of batches. */
  readonly sponsorId: string;
  /** How long a token's batches rest after one was refused as a whole. */
  readonly backoffNs: bigint;
}

/** Rests of a batch that failed: short enough for a peer's restart, long enough not to fill the log. */
const REST_MS_FIRST = 100;
const REST_MS_MAX = 5_000;

type OpenState = Extract<LoadedBatch['state'], { readonly batchKey: string }>;

/**
 * Closes batches when they are due and takes each sealed one to the relayer: screen, reserve gas, submit. Every id follows from
 * the batch, so after a crash anywhere the same calls are made again and answer what was recorded:
 *
 * - Crash after sealing: the batch is found `sealed` and screened then.
 * - Crash after screening was answered, before it is recorded: the same screening ids answer the same decisions.
 * - Crash after gas was reserved or the intent submitted, before that is recorded: the same ids again; the relayer answers
 *   its acceptance. If the chain is faster than we are, the outcome is taken from `screened` as well.
 */
export class BatchDriver {
  /** Batches that failed and when each is tried again, on the monotonic clock. Lost with the process: then all are tried at once. */
  private readonly resting = new Map<string, { readonly untilMs: number; readonly failures: number }>();

  constructor(private readonly options: BatchDriverOptions) {}

  /** Seals what is due. Answers the new batches. */
  async closeDue(): Promise<readonly string[]> {
    const { store, clock, limits } = this.options;
    const nowNs = clock.nowNs();
    const sealed: string[] = [];
    for (const payable of await this.payables(nowNs)) {
      const reason = closeReason(payable, limits, nowNs);
      if (reason === undefined) continue;
      const { chainId, token } = payable;
      sealed.push(...(await sealBatches(store, { chainId, token, reason: SealReason[`SEAL_REASON_${reason}`], nowNs, commandId: '' })));
    }
    return sealed;
  }

  /** Takes every batch that is not with the relayer yet one step or more further. One that cannot go on says why and waits. */
  async advanceAll(onFailure: (batchId: string, error: unknown) => void): Promise<void> {
    const { store, clock } = this.options;
    const waiting = await store.transact(0, (tx) =>
      tx.query<{ batch_id: string }>(`select batch_id from ledger.batch where state in ('sealed', 'screened') order by sealed_at_ns limit 64`),
    );
    for (const { batch_id: batchId } of waiting) {
      const rest = this.resting.get(batchId);
      if (rest !== undefined && clock.monotonicMs() < rest.untilMs) continue;
      try {
        await this.advance(batchId);
        this.resting.delete(batchId);
      } catch (error) {
        // The others are not held up by this one; it is tried again after a rest that doubles.
        const failures = (rest?.failures ?? 0) + 1;
        this.resting.set(batchId, { failures, untilMs: clock.monotonicMs() + Math.min(REST_MS_MAX, REST_MS_FIRST * 2 ** Math.min(failures, 16)) });
        onFailure(batchId, error);
      }
    }
  }

  async advance(batchId: string): Promise<void> {
    const { store } = this.options;
    for (;;) {
      const batch = (await loadBatches(store, [batchId])).get(batchId);
      if (batch === undefined || !('open' in batch.state) || batch.state.status === 'submitted') return;
      const moved = batch.state.status === 'sealed' ? await this.screen(batch, batch.state) : await this.submit(batch, batch.state);
      if (!moved) return;
    }
  }

  private async screen(batch: LoadedBatch, { chainId, open }: OpenState): Promise<boolean> {
    const payouts = [...open.values()];
    const answers = await this.options.screening.screen(
      payouts.map(({ payoutId, to }) => ({ screeningId: siblingId('scr', payoutId), subjectId: payoutId, subject: 'payout', chainId, addresses: [to] })),
    );
    const byId = new Map(answers.map((a) => [a.screeningId, a]));
    const screened = payouts.flatMap(({ payoutId }) => {
      const answer = byId.get(siblingId('scr', payoutId));
      // A payout without an answer stays out, and the decider refuses to go on (I3).
      return answer === undefined ? [] : [{ payoutId, screeningId: answer.screeningId, allowed: answer.allowed, code: answer.code }];
    });
    await this.execute(batch, { type: 'RecordScreening', payouts: screened, nowNs: this.options.clock.nowNs() });
    return true;
  }

  private async submit(batch: LoadedBatch, state: OpenState): Promise<boolean> {
    const { screening, sponsorship, relay, sponsorId, clock } = this.options;
    const { batchId } = batch;
    const { chainId, token, batchKey } = state;
    const payouts = [...state.open.values()];

    // One decision about exactly these payees stands behind the intent; other payees would be another screening.
    const screeningId = derivedId('scr', batchId, ...payouts.map((p) => p.payoutId));
    const [decision] = await screening.screen([
      { screeningId, subjectId: batchId, subject: 'payout', chainId, addresses: payouts.map((p) => p.to) },
    ]);
    if (decision?.allowed !== true) {
      // A list has changed since each was allowed: the next batch screens them one by one again.
      await this.execute(batch, { type: 'AbandonBatch', code: decision?.code ?? 'HELD_BY_SCREENING', nowNs: clock.nowNs() });
      return false;
    }

    const terms = await relay.gasTerms(chainId);
    const reservationId = siblingId('rsv', batchId);
    const amountWeiMax = (terms.settleGasBase + terms.settleGasItem * BigInt(payouts.length)) * terms.feePerGasWeiMax;
    const [reservation] = await sponsorship.reserve([{ reservationId, sponsorId, chainId, subjectId: batchId, amountWeiMax }]);
    if (reservation?.reserved !== true) return this.wait(batchId, reservation?.code ?? 'NO_RESERVATION');

    const intentId = siblingId('int', batchId);
    const [submission] = await relay.submit([
      {
        intentId,
        chainId,
        subjectId: batchId,
        screeningId,
        sponsorId,
        reservationId,
        kind: {
          $case: 'settle',
          value: {
            // The relayer takes the symbol that the chain's configuration gives the contract.
            token,
            batchKey,
            payouts: payouts.map(({ payoutId, merchantKey, to, amountMinor }) => ({ payoutId, merchantKey, to, amountMinor })),
          },
        },
      },
    ]);
    // Crash here: the relayer has the intent, we have not recorded it. The batch stays `screened` and submits the same again.
    if (submission?.accepted === true) {
      await this.execute(batch, { type: 'RecordSubmission', intentId, screeningId, reservationId, nowNs: clock.nowNs() });
      return false;
    }
    if (submission === undefined || submission.code === 'CONTENT_CHANGED') {
      // The relayer may be executing something under this id: whether money moves is not known.
      await this.execute(batch, { type: 'DisputeBatch', code: submission?.code ?? 'NO_ANSWER', transactionHash: '', nowNs: clock.nowNs() });
      return false;
    }
    await this.execute(batch, { type: 'AbandonBatch', code: submission.code, nowNs: clock.nowNs() });
    // Crash here: the reservation stays until the sponsor's operator releases it; it blocks budget, it costs nothing.
    await sponsorship.release([{ reservationId, sponsorId }]);
    return false;
  }

  private async execute(batch: LoadedBatch, command: Parameters<typeof executeBatch>[2]): Promise<void> {
    const { store, backoffNs } = this.options;
    await store.transact(store.partitionOf(`batch-${batch.batchId}`), async (tx) => {
      const notBeforeNs = command.nowNs + backoffNs;
      await appendAll(tx, await executeBatch(tx, batch, command, { blockNumber: 0n, transactionHash: '', notBeforeNs }));
    });
  }

  private async wait(batchId: string, reason: string): Promise<false> {
    await this.options.store.transact(0, (tx) =>
      tx.query('update ledger.batch set reason = $2 where batch_id = $1 and reason <> $2', [batchId, reason]),
    );
    return false;
  }

  /** What could be sealed, per token. */
  private async payables(nowNs: bigint): Promise<readonly Payable[]> {
    const rows = await this.options.store.transact(0, (tx) =>
      tx.query<{ chain_id: string; token: string; total: string; payments: string; oldest: string | null }>(
        `with open as (
           select b.chain_id, b.token, b.merchant_id, -b.balance as payable, b.changed_at_ns
             from ledger.account_balance b
             join ledger.merchant m on m.merchant_id = b.merchant_id and m.chain_id = b.chain_id
             left join ledger.batch_sequence s on s.chain_id = b.chain_id and s.token = b.token
            where b.kind = 'merchant-payable' and b.balance < 0 and coalesce(s.not_before_ns, 0) <= $1
              and not exists (select 1 from ledger.payout_hold h
                               where h.merchant_id = b.merchant_id and h.chain_id = b.chain_id and h.token = b.token)),
         waiting as (
           select a.chain_id, a.token, a.merchant_id, count(*) as payments, min(a.accrued_at_ns) as oldest
             from ledger.accrual a where a.payout_id = '' and a.refunded < a.amount group by 1, 2, 3)
         select o.chain_id, o.token, sum(o.payable)::text as total, coalesce(sum(w.payments), 0)::text as payments,
                min(coalesce(w.oldest, o.changed_at_ns))::text as oldest
           from open o left join waiting w using (chain_id, token, merchant_id) group by 1, 2`,
        [nowNs.toString()],
      ),
    );
    return rows.map((row) => ({
      chainId: row.chain_id,
      token: row.token,
      payments: Number.parseInt(row.payments, 10),
      total: BigInt(row.total),
      oldestAccruedAtNs: row.oldest === null ? undefined : BigInt(row.oldest),
    }));
  }
}

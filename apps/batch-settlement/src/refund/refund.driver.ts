import type { EventStore } from '@settlement/event-store/port';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { derivedKey, siblingId } from '../derived-id';
import { appendAll } from '../ledger/ledger.store';
import type { Relay } from '../ports/relay';
import type { Screening } from '../ports/screening';
import type { Sponsorship } from '../ports/sponsorship';
import { executeRefunds, loadRefunds, type RefundStep } from './refund.store';

export interface RefundDriverOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly screening: Screening;
  readonly sponsorship: Sponsorship;
  readonly relay: Relay;
  readonly sponsorId: string;
}

interface Row extends Record<string, unknown> {
  readonly refund_id: string;
  readonly merchant_key: string;
  readonly chain_id: string;
  readonly token: string;
  readonly amount: string;
  readonly to_address: string;
  readonly sponsor_id: string;
}

/** One turn takes at most so many refunds: bounds the calls and the transaction. */
const REFUNDS_PER_TURN_MAX = 200;

/**
 * Takes reserved refunds to the relayer: screen the payee, reserve gas, submit. All calls carry ids that follow from the
 * refund, so a crash between any of them and the record leads to the same calls with the same answers.
 */
export class RefundDriver {
  constructor(private readonly options: RefundDriverOptions) {}

  /** One turn. A refund that a peer finds malformed is reported and does not hold up the others. */
  async advanceAll(onFailure: (refundId: string, error: unknown) => void = () => undefined): Promise<void> {
    const { store } = this.options;
    const rows = await store.transact(0, (tx) =>
      tx.query<Row>(
        `select refund_id, merchant_key, chain_id, token, amount::text, to_address, sponsor_id from ledger.refund
          where state = 'reserved' order by requested_at_ns limit $1`,
        [REFUNDS_PER_TURN_MAX],
      ),
    );
    if (rows.length === 0) return;
    try {
      await this.advance(rows);
    } catch (error) {
      // A peer that is away is away for all of them. Anything else lies in one of them: one by one shows which.
      if (error instanceof OperationalError || rows.length === 1) throw error;
      for (const row of rows) await this.advance([row]).catch((failure: unknown) => { onFailure(row.refund_id, failure); });
    }
  }

  private async advance(rows: readonly Row[]): Promise<void> {
    const { screening, sponsorship, relay } = this.options;
    const screened = await screening.screen(
      rows.map((r) => ({
        screeningId: siblingId('scr', r.refund_id),
        subjectId: r.refund_id,
        subject: 'refund',
        chainId: r.chain_id,
        addresses: [r.to_address],
      })),
    );
    const verdicts = new Map(screened.map((s) => [s.screeningId, s]));
    const rejected = new Map<string, string>();
    const allowed = rows.filter((r) => {
      const verdict = verdicts.get(siblingId('scr', r.refund_id));
      if (verdict?.allowed === false) rejected.set(r.refund_id, verdict.code);
      return verdict?.allowed === true;
    });

    const terms = new Map<string, bigint>();
    for (const { chain_id } of allowed) {
      if (terms.has(chain_id)) continue;
      const { refundGas, feePerGasWeiMax } = await relay.gasTerms(chain_id);
      terms.set(chain_id, refundGas * feePerGasWeiMax);
    }
    const reservations = await sponsorship.reserve(
      allowed.map((r) => ({
        reservationId: siblingId('rsv', r.refund_id),
        sponsorId: this.sponsorOf(r),
        chainId: r.chain_id,
        subjectId: r.refund_id,
        amountWeiMax: terms.get(r.chain_id) ?? 0n,
      })),
    );
    const reserved = new Map(reservations.map((r) => [r.reservationId, r]));
    const sponsored = allowed.filter((r) => {
      const answer = reserved.get(siblingId('rsv', r.refund_id));
      if (answer?.reserved === false) rejected.set(r.refund_id, answer.code);
      return answer?.reserved === true;
    });

    const submissions = await relay.submit(
      sponsored.map((r) => ({
        intentId: siblingId('int', r.refund_id),
        chainId: r.chain_id,
        subjectId: r.refund_id,
        screeningId: siblingId('scr', r.refund_id),
        sponsorId: this.sponsorOf(r),
        reservationId: siblingId('rsv', r.refund_id),
        kind: {
          $case: 'refund',
          value: {
            token: r.token,
            refundKey: derivedKey('settlement.refund', r.refund_id),
            merchantKey: r.merchant_key,
            to: r.to_address,
            amountMinor: r.amount,
          },
        },
      })),
    );
    // Crash here: the relayer has the intents, nothing is recorded. The next turn submits the same ids again.
    const submitted = new Set<string>();
    const disputed = new Map<string, string>();
    const toRelease: { reservationId: string; sponsorId: string }[] = [];
    const answers = new Map(submissions.map((s) => [s.intentId, s]));
    for (const r of sponsored) {
      const answer = answers.get(siblingId('int', r.refund_id));
      if (answer?.accepted === true) submitted.add(r.refund_id);
      // Something else runs under this id.
      else if (answer?.code === 'CONTENT_CHANGED') disputed.set(r.refund_id, answer.code);
      else if (answer !== undefined) {
        rejected.set(r.refund_id, answer.code);
        toRelease.push({ reservationId: siblingId('rsv', r.refund_id), sponsorId: this.sponsorOf(r) });
      }
    }
    await this.record(submitted, rejected, disputed);
    if (toRelease.length > 0) await sponsorship.release(toRelease);
  }

  private sponsorOf(row: Row): string {
    return row.sponsor_id === '' ? this.options.sponsorId : row.sponsor_id;
  }

  private async record(submitted: ReadonlySet<string>, rejected: ReadonlyMap<string, string>, disputed: ReadonlyMap<string, string>): Promise<void> {
    const { store, clock } = this.options;
    const ids = [...submitted, ...rejected.keys(), ...disputed.keys()];
    if (ids.length === 0) return;
    const loaded = await loadRefunds(store, ids);
    const nowNs = clock.nowNs();
    const steps = ids.flatMap((refundId): RefundStep[] => {
      const refund = loaded.get(refundId);
      if (refund === undefined) return [];
      return [{ refund, command: commandOf(refundId, rejected, disputed, nowNs), blockNumber: 0n, transactionHash: '', traceparent: '' }];
    });
    await store.transact(0, async (tx) => {
      await appendAll(tx, await executeRefunds(tx, steps));
    });
  }
}

function commandOf(refundId: string, rejected: ReadonlyMap<string, string>, disputed: ReadonlyMap<string, string>, nowNs: bigint): RefundStep['command'] {
  const code = rejected.get(refundId);
  if (code !== undefined) return { type: 'RejectRefund', code, nowNs };
  const dispute = disputed.get(refundId);
  if (dispute !== undefined) return { type: 'DisputeRefund', code: dispute, transactionHash: '', nowNs };
  return {
    type: 'RecordRefundSubmission',
    intentId: siblingId('int', refundId),
    screeningId: siblingId('scr', refundId),
    reservationId: siblingId('rsv', refundId),
    nowNs,
  };
}

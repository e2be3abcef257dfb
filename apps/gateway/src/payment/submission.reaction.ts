import type { RecordedEvent } from '@settlement/event-store/event';
import type { Append, EventStore, Transaction } from '@settlement/event-store/port';
import type { FeedReaction } from '@settlement/feed/feed-consumer';
import { fold } from '@settlement/kernel/decider';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import type { CollectRequest, Relayer } from '../ports/relayer';
import type { CallOrigin, Screener } from '../ports/screener';
import type { ReservationRequest, Sponsor } from '../ports/sponsor';
import { peerIdsOf } from './payment-id';
import type { PaymentLog } from './payment-log';
import { paymentCodec } from './payment.codec';
import { paymentDecider, type PaymentState, type Reservation, type ScreeningPass, type SubmissionOutcome } from './payment.decider';
import { paymentStream } from './payment.events';

export interface SubmissionReactionOptions {
  readonly store: EventStore;
  readonly screener: Screener;
  readonly sponsor: Sponsor;
  readonly relayer: Relayer;
  readonly clock: Clock;
  readonly log: PaymentLog;
}

/** A payment that is accepted and not yet submitted, with the version that the outcome is appended to. */
export interface OpenPayment {
  readonly state: Extract<PaymentState, { status: 'accepted' }>;
  readonly version: bigint;
  /** The accepted fact: its id makes the append's command id, its trace the payment's. */
  readonly cause: RecordedEvent;
}

export interface DecidedPayment {
  readonly payment: OpenPayment;
  readonly outcome: SubmissionOutcome;
}

/**
 * From *accepted* to *submitted*: screening, then gas, then relay, each asked once for all payments that a partition has
 * ready, and the answers recorded in one transaction with the watermark.
 *
 * Crash windows: after any of the three calls nothing is recorded here, the same events come again, and the calls carry the
 * same ids, so the peers answer what they recorded. A peer that is down throws, the watermark stays, and nothing is refused.
 */
export function submissionReaction(options: SubmissionReactionOptions): FeedReaction<readonly DecidedPayment[]> {
  return {
    async prepare(events, signal) {
      const open = await openPayments(options.store, events);
      if (open.length === 0) return [];
      return decideMany(open, { signal, traceparent: open[0]?.cause.traceparent ?? '' }, options);
    },

    async apply(tx, decided) {
      options.log.recorded(await record(tx, decided, options.clock));
    },
  };
}

async function openPayments(store: EventStore, events: readonly RecordedEvent[]): Promise<readonly OpenPayment[]> {
  const streams = await store.readStreams(events.map((event) => event.streamId));
  return events.flatMap((cause) => {
    const recorded = streams.get(cause.streamId) ?? [];
    const state = fold(paymentDecider, recorded.map((event) => paymentCodec.decode(event)));
    // Redelivered after its outcome was recorded, or overtaken by the relayer's feed.
    return state.status === 'accepted' ? [{ state, version: recorded.at(-1)?.streamVersion ?? 0n, cause }] : [];
  });
}

/** Asks the three peers in turn; each question holds only those that the one before let on. */
export async function decideMany(
  open: readonly OpenPayment[],
  origin: CallOrigin,
  { screener, sponsor, relayer }: Pick<SubmissionReactionOptions, 'screener' | 'sponsor' | 'relayer'>,
): Promise<readonly DecidedPayment[]> {
  const decided: DecidedPayment[] = [];

  const screenings = await screener.screenMany(
    open.map(({ state: { terms, authorization } }) => ({
      screeningId: peerIdsOf(terms.paymentId).screeningId,
      paymentId: terms.paymentId,
      chainId: terms.chainId,
      payer: authorization.from,
      payee: terms.payoutAddress,
    })),
    origin,
  );
  const allowed: { readonly payment: OpenPayment; readonly screening: ScreeningPass }[] = [];
  open.forEach((payment, i) => {
    const { screeningId } = peerIdsOf(payment.state.terms.paymentId);
    const answer = screenings[i];
    if (answer === undefined) throw new OperationalError('PEER_ANSWER_MISSING', `screening did not answer for ${screeningId}`, 'unknown');
    if (answer.verdict === 'allow') allowed.push({ payment, screening: { screeningId, listVersions: answer.listVersions } });
    else if (answer.verdict === 'hold') decided.push({ payment, outcome: { result: 'held', screeningId, reason: answer.reason } });
    else decided.push({ payment, outcome: { result: 'rejected', code: answer.code } });
  });
  if (allowed.length === 0) return decided;

  const costs = new Map<string, ReservationRequest['amountMax']>();
  for (const chainId of new Set(allowed.map(({ payment }) => payment.state.terms.chainId))) costs.set(chainId, await relayer.collectCostMax(chainId, origin));
  const requests = allowed.map(({ payment: { state: { terms } } }): ReservationRequest => {
    const amountMax = costs.get(terms.chainId);
    if (amountMax === undefined) throw new OperationalError('PEER_ANSWER_MISSING', `no gas ceiling for ${terms.chainId}`, 'not-done');
    return { reservationId: peerIdsOf(terms.paymentId).reservationId, sponsorId: terms.sponsorId, chainId: terms.chainId, paymentId: terms.paymentId, amountMax };
  });
  const reservations = await sponsor.reserveMany(requests, origin);
  const sponsored: { readonly payment: OpenPayment; readonly screening: ScreeningPass; readonly reservation: Reservation }[] = [];
  allowed.forEach(({ payment, screening }, i) => {
    const { reservationId } = peerIdsOf(payment.state.terms.paymentId);
    const answer = reservations[i];
    if (answer === undefined) throw new OperationalError('PEER_ANSWER_MISSING', `the paymaster did not answer for ${reservationId}`, 'unknown');
    if (answer.reserved) sponsored.push({ payment, screening, reservation: { reservationId, reserved: answer.amount } });
    else decided.push({ payment, outcome: { result: 'not-sponsored', screening, code: answer.code } });
  });
  if (sponsored.length === 0) return decided;

  const submissions = await relayer.submitMany(
    sponsored.map(({ payment: { state: { terms, authorization } }, screening, reservation }): CollectRequest => ({
      intentId: peerIdsOf(terms.paymentId).intentId,
      chainId: terms.chainId,
      paymentId: terms.paymentId,
      screeningId: screening.screeningId,
      sponsorId: terms.sponsorId,
      reservationId: reservation.reservationId,
      token: terms.amount.token,
      authorization,
      merchantKey: terms.merchantKey,
    })),
    origin,
  );
  const refused: Pick<ReservationRequest, 'reservationId' | 'sponsorId'>[] = [];
  sponsored.forEach(({ payment, screening, reservation }, i) => {
    const { terms } = payment.state;
    const { intentId } = peerIdsOf(terms.paymentId);
    const answer = submissions[i];
    if (answer === undefined) throw new OperationalError('PEER_ANSWER_MISSING', `the relayer did not answer for ${intentId}`, 'unknown');
    if (answer.accepted) decided.push({ payment, outcome: { result: 'submitted', screening, reservation, intentId } });
    else {
      refused.push({ reservationId: reservation.reservationId, sponsorId: terms.sponsorId });
      decided.push({ payment, outcome: { result: 'not-relayed', screening, reservation, code: answer.code } });
    }
  });
  // Before the refusal is recorded: after it nobody would come back to give the gas back.
  if (refused.length > 0) await sponsor.releaseMany(refused, origin);
  return decided;
}

async function record(tx: Transaction, decided: readonly DecidedPayment[], clock: Clock): Promise<readonly Append[]> {
  const nowNs = clock.nowNs();
  const appends = decided.flatMap(({ payment: { state, version, cause }, outcome }): Append[] => {
    const decision = paymentDecider.decide({ type: 'RecordSubmission', outcome, nowNs }, state);
    if (decision.kind === 'rejected') throw new InvariantViolated('CONTRADICTS_RECORD', 'a submission does not fit its payment', { rejection: decision.rejection });
    return [
      {
        streamId: paymentStream(state.terms.paymentId),
        expectedVersion: version,
        commandId: `submission:${cause.eventId}`,
        events: decision.events.map((event) => paymentCodec.encode(event)),
        traceparent: cause.traceparent,
      },
    ];
  });
  await appendAll(tx, appends);
  return appends;
}

/** All of them or, by throwing, none: a conflict means that the state has moved since it was read. */
export async function appendAll(tx: Transaction, appends: readonly Append[]): Promise<void> {
  if (appends.length === 0) return;
  const results = await tx.append(appends);
  const conflict = results.find((result) => result.outcome === 'conflict');
  if (conflict !== undefined) throw new OperationalError('CONTENTION', `${conflict.streamId} changed meanwhile; the batch is decided anew`, 'not-done');
}


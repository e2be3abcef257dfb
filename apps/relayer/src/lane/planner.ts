import type { Append } from '@settlement/event-store/port';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { UnixNs } from '@settlement/kernel/time';
import { TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent } from '../intent/intent';
import { relayerCodec } from '../relayer.codec';
import type { TransactionEvent } from '../relayer.events';
import { transactionIdOf, transactionStreamOf } from '../transaction/transaction.decider';
import type { Attempts } from './attempts';
import type { OpenTransaction } from './lane-book';
import { fenceOf, type LaneMemory, type LaneParts } from './lane-parts';
import { pack, type Pack } from './pack.policy';
import type { PlanLimits } from './plan-limits';
import type { Faulty, PreFlight } from './pre-flight';

interface Planned {
  readonly transaction: Pick<OpenTransaction, 'transactionId' | 'streamId' | 'nonce' | 'intents'>;
  readonly event: Extract<TransactionEvent, { type: 'TransactionPlanned' }>;
}

/** The planner looks again at least this often; submissions wake it earlier. Milliseconds. */
const PLAN_MS_MAX = 100;
/** While the vault or the fees say no, or another process owns the lane. Milliseconds. */
const BACKOFF_MS = 1_000;
/** Far longer than reading of another lane's plan takes. Milliseconds. */
const CONTESTED_MS = 5_000;

/** Puts waiting intents into transactions: choose, simulate, record, sign, send. */
export class Planner {
  /** Claimed by another lane before this process has read of it. */
  #contested: readonly { readonly atMs: number; readonly intents: readonly AcceptedIntent[] }[] = [];

  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly limits: PlanLimits,
    private readonly preFlight: PreFlight,
    private readonly attempts: Attempts,
  ) {}

  /** One plan, if there is anything to plan; answers after how many milliseconds to look again. */
  async step(): Promise<number> {
    const { queue, book, settings, clock, ownership, metrics, share } = this.parts;
    if (ownership.held(book.laneId) === undefined) {
      this.memory.blocked = 'its lease has run out and is not renewed yet';
      share?.report(book.laneId, undefined);
      return BACKOFF_MS;
    }
    this.#releaseContested();
    if (book.open().some((it) => it.lifecycle.phase === 'planned')) await this.memory.exclusively(() => this.#signLeftOver());
    const doubt = this.memory.quarantine ?? this.memory.distrust;
    if (doubt !== undefined) {
      // What waits goes to other lanes.
      this.memory.blocked = doubt.detail;
      share?.report(book.laneId, undefined);
      await this.#idle();
      return 0;
    }
    const nowNs = clock.nowNs();
    const isTreasury = this.parts.topUps !== undefined;
    const all = queue.waiting().filter(({ intent }) => (intent.call.kind === 'topUp') === isTreasury);
    if (!isTreasury) metrics.waiting(book.chainId, all.length, ageS(all, nowNs));
    metrics.lane(book.chainId, book.keyAddress, book.inFlight(), book.nextNonce ?? 0n);
    const cancelled = all.filter(({ intent }) => this.memory.cancelRequests.has(intent.intentId));
    if (cancelled.length > 0) {
      queue.take(cancelled);
      await this.#giveUp(cancelled.map((accepted) => ({ accepted, reason: IntentReason.INTENT_REASON_CANCELLED, detail: 'cancelled before it was planned' })));
      return 0;
    }
    const slots = settings.inFlightMax - book.inFlight();
    if (slots <= 0) {
      share?.report(book.laneId, undefined);
      await this.#idle();
      return 0;
    }
    share?.report(book.laneId, { inFlight: book.inFlight() });
    const waiting = share === undefined ? all : all.filter((accepted) => share.mine(accepted, nowNs));
    const { packs, expired } = pack(await this.limits.affordable(this.preFlight.eligible(waiting)), slots, { nowNs, chainTimeS: this.memory.head?.timestampS ?? 0n }, settings.pack);
    if (expired.length > 0) await this.#expire(expired);
    const chosen = share === undefined ? packs : packs.slice(0, share.packsOf(book.laneId, packs.length));
    if (chosen.length === 0) {
      if (packs.length === 0) this.memory.blocked = undefined;
      await this.#idle();
      return 0;
    }
    const allowed = await this.limits.allowed(chosen);
    if (allowed.packs.length === 0) {
      this.memory.blocked = allowed.why;
      share?.report(book.laneId, undefined);
      return BACKOFF_MS;
    }
    return this.memory.exclusively(() => this.#execute(allowed.packs));
  }

  /** A plan that a failure left unsigned holds its nonce and so all later ones: nothing else would ever sign it but a restart. */
  async #signLeftOver(): Promise<void> {
    const unsigned = this.parts.book.open().filter((it) => it.lifecycle.phase === 'planned' && !this.memory.suspects.has(it.transactionId));
    if (unsigned.length === 0) return;
    await this.attempts.sign(unsigned);
    await this.attempts.broadcast(unsigned);
  }

  async #expire(expired: readonly AcceptedIntent[]): Promise<void> {
    const { queue } = this.parts;
    // While fees and limits were asked for, another lane of this process may have been faster.
    const waiting = new Set(queue.waiting().map(({ intent }) => intent.intentId));
    const mine = expired.filter(({ intent }) => waiting.has(intent.intentId));
    queue.take(mine);
    try {
      if (mine.length > 0) await this.#giveUp(mine.map((accepted) => ({ accepted, reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED })));
    } finally {
      // Not given up after all, or not known to be: they wait again, and the log decides the next time.
      queue.release(mine);
    }
  }

  /** Ends the lane's part in sharing what waits. */
  end(): void {
    this.parts.share?.report(this.parts.book.laneId, undefined);
  }

  async #execute(packs: readonly Pack[]): Promise<number> {
    const { queue, book, share } = this.parts;
    // While this plan waited for its turn, the lane may have come into doubt.
    if (this.memory.stopping || this.memory.distrust !== undefined || this.memory.quarantine !== undefined) return 0;
    // While the fees were asked for, another lane of this process may have been faster.
    const waiting = new Set(queue.waiting().map(({ intent }) => intent.intentId));
    if (!packs.every(({ intents }) => intents.every(({ intent }) => waiting.has(intent.intentId)))) return 0;
    const intents = packs.flatMap((it) => it.intents);
    // In memory first: from here on no other lane of this process plans them.
    queue.take(intents);
    share?.report(book.laneId, undefined);
    let planned: readonly OpenTransaction[];
    try {
      const checked = await this.preFlight.check(packs);
      if (checked.outcome === 'vault-refuses') {
        this.memory.blocked = checked.why;
        return BACKOFF_MS;
      }
      if (checked.faulty.length > 0) await this.#giveUp(checked.faulty);
      this.memory.blocked = undefined;
      if (checked.good.length === 0) return 0;
      this.parts.crash.reached('before-plan');
      planned = await this.#record(checked.good);
    } finally {
      // What no plan holds waits again. After an error a plan may stand all the same: the log says so, and its claim guards it.
      const contested = new Set(this.#contested.flatMap((it) => it.intents.map(({ intent }) => intent.intentId)));
      queue.release(intents.filter(({ intent }) => !contested.has(intent.intentId)));
    }
    if (planned.length === 0) return 0;
    this.parts.crash.reached('after-plan');
    await this.attempts.sign(planned);
    await this.attempts.broadcast(planned);
    return 0;
  }

  /** Somebody else's claim without a plan that this process has seen by now: worth another try, which the claim decides. */
  #releaseContested(): void {
    const nowMs = this.parts.clock.monotonicMs();
    for (const { intents } of this.#contested.filter((it) => nowMs - it.atMs > CONTESTED_MS)) this.parts.queue.release(intents);
    this.#contested = this.#contested.filter((it) => nowMs - it.atMs <= CONTESTED_MS);
  }

  /** Until something is submitted, a slot frees up or the time is over. */
  async #idle(): Promise<void> {
    const { queue, clock } = this.parts;
    const woken = this.memory.woken();
    const waiting = queue.size > 0;
    const unsubscribe = waiting ? () => undefined : queue.onAdd(() => this.memory.wake());
    await Promise.race([woken, clock.sleep(waiting ? PLAN_MS_MAX / 4 : PLAN_MS_MAX, this.memory.stop.signal)]);
    unsubscribe();
  }

  /** Ends intents without a transaction; they are taken by this lane. */
  async #giveUp(items: readonly Faulty[]): Promise<void> {
    const { log, queue, clock, logger, metrics, book } = this.parts;
    const expiredAtNs = clock.nowNs();
    const records = items.map(({ accepted: { intent, traceparent }, reason, detail = '' }) => {
      const { intentId, chainId, subjectId, sponsorId, reservationId } = intent;
      const append: Append = {
        streamId: `intent-${intentId}`,
        expectedVersion: 1n,
        commandId: `expire-${intentId}`,
        events: [relayerCodec.encode({ type: 'IntentExpired', intentId, chainId, subjectId, sponsorId, reservationId, reason, expiredAtNs, detail })],
        traceparent,
      };
      return { intentId, append };
    });
    let held: ReadonlySet<string>;
    try {
      held = new Set(await log.giveUp(fenceOf(this.parts), records));
    } catch (error) {
      queue.release(items.map(({ accepted }) => accepted));
      throw error;
    }
    this.#contest(items.map(({ accepted }) => accepted).filter(({ intent }) => held.has(intent.intentId)));
    const done = records.map(({ intentId }) => intentId).filter((intentId) => !held.has(intentId));
    queue.settle(done);
    metrics.expired(book.chainId, done.length);
    logger.info({ intents: done }, 'intents given up before signing');
  }

  /** Another lane was first. They stay taken until this process has read of it. */
  #contest(intents: readonly AcceptedIntent[]): void {
    if (intents.length === 0) return;
    const { clock, metrics, book } = this.parts;
    this.#contested = [...this.#contested, { atMs: clock.monotonicMs(), intents }];
    metrics.contested(book.chainId, intents.length);
  }

  /** Write ahead: which nonce holds which intents is on record before anything is signed. */
  async #record(packs: readonly Pack[]): Promise<readonly OpenTransaction[]> {
    const { book, queue, clock, settings, log, calls, metrics, instance, signer } = this.parts;
    const firstNonce = book.nextNonce;
    if (firstNonce === undefined) throw new InvariantViolated('LANE_BOOK', 'a lane plans before it was reconciled', { lane: book.laneId });
    const fence = fenceOf(this.parts);
    const plannedAtNs = clock.nowNs();
    const planned = packs.map((it, index): Planned => {
      const nonce = firstNonce + BigInt(index);
      const transactionId = transactionIdOf(book.chainId, book.keyAddress, nonce);
      const { to, data, valueWei } = calls.encode(it.intents.map((accepted) => accepted.intent.call), { epoch: settings.epoch, keyAddress: signer.address });
      const event = {
        type: 'TransactionPlanned' as const,
        transactionId,
        chainId: book.chainId,
        keyAddress: book.keyAddress,
        nonce,
        to,
        data,
        gasLimit: it.gasLimit,
        intentIds: it.intents.map((accepted) => accepted.intent.intentId),
        plannedAtNs,
        fencingToken: fence.fencingToken,
        purpose: TransactionPurpose.TRANSACTION_PURPOSE_EXECUTE,
        valueWei: valueWei === 0n ? '' : valueWei.toString(),
      };
      book.decide(transactionId, { type: 'Plan', plan: event });
      const streamId = transactionStreamOf(book.chainId, book.keyAddress, nonce);
      return {
        transaction: { transactionId, streamId, nonce, intents: it.intents },
        event,
      };
    });
    const { recorded, claimed } = await log.plan(
      fence,
      planned.map(({ transaction, event }) => ({
        transactionId: transaction.transactionId,
        intentIds: event.intentIds,
        append: {
          streamId: transaction.streamId,
          expectedVersion: 'must-not-exist',
          commandId: `plan-${instance}-${transaction.transactionId}`,
          events: [relayerCodec.encode(event)],
          traceparent: transaction.intents[0]?.traceparent ?? '',
        },
      })),
    );
    const standing = planned.slice(0, recorded);
    for (const { transaction, event } of standing) {
      book.planned(transaction, event, 1n);
      book.startAt(transaction.nonce + 1n);
    }
    for (const { transaction } of standing) queue.markTaken(transaction.intents.map((it) => it.intent.intentId));
    // The rest of their packs waits for the next plan.
    const others = new Set(claimed);
    this.#contest(planned.slice(recorded).flatMap(({ transaction }) => transaction.intents).filter((it) => others.has(it.intent.intentId)));
    metrics.lane(book.chainId, book.keyAddress, book.inFlight(), book.nextNonce ?? 0n);
    return standing.flatMap(({ transaction }) => book.get(transaction.transactionId) ?? []);
  }
}

function ageS(waiting: readonly AcceptedIntent[], nowNs: UnixNs): number {
  let oldest = nowNs;
  for (const { acceptedAtNs } of waiting) if (acceptedAtNs < oldest) oldest = acceptedAtNs;
  return Number(nowNs - oldest) / 1e9;
}

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
import type { LaneFees } from './lane-fees';
import { fenceOf, type LaneMemory, type LaneParts } from './lane-parts';
import { pack, type Pack } from './pack.policy';
import type { Faulty, PreFlight } from './pre-flight';

interface Planned {
  readonly transaction: Pick<OpenTransaction, 'transactionId' | 'streamId' | 'nonce' | 'intents'>;
  readonly event: Extract<TransactionEvent, { type: 'TransactionPlanned' }>;
}

/** The planner looks again at least this often; submissions wake it earlier. Milliseconds. */
const PLAN_MS_MAX = 100;
/** While the vault or the fees say no, or another process owns the lane. Milliseconds. */
const BACKOFF_MS = 1_000;

/** Puts waiting intents into transactions: choose, simulate, record, sign, send. */
export class Planner {
  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly fees: LaneFees,
    private readonly preFlight: PreFlight,
    private readonly attempts: Attempts,
  ) {}

  /** One plan, if there is anything to plan; answers after how many milliseconds to look again. */
  async step(): Promise<number> {
    const { queue, book, settings, clock, ownership, metrics } = this.parts;
    if (ownership.held(book.laneId) === undefined) {
      this.memory.blocked = 'another process owns the lane';
      return BACKOFF_MS;
    }
    const nowNs = clock.nowNs();
    const waiting = queue.waiting();
    metrics.waiting(book.chainId, waiting.length, ageS(waiting, nowNs));
    metrics.lane(book.chainId, book.keyAddress, book.inFlight(), book.nextNonce ?? 0n);
    const slots = settings.inFlightMax - book.inFlight();
    if (slots <= 0) {
      await this.#idle();
      return 0;
    }
    const { packs, expired } = pack(waiting, slots, { nowNs, chainTimeS: this.memory.head?.timestampS ?? 0n }, settings.pack);
    if (expired.length > 0) await this.#giveUp(expired.map((accepted) => ({ accepted, reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED })));
    if (packs.length === 0) {
      this.memory.blocked = undefined;
      await this.#idle();
      return 0;
    }
    const fees = await this.fees.current();
    if (fees === undefined) {
      this.memory.blocked = 'gas costs more than FEE_PER_GAS_WEI_MAX';
      return BACKOFF_MS;
    }
    const checked = await this.preFlight.check(packs);
    if (checked.outcome === 'vault-refuses') {
      this.memory.blocked = checked.why;
      return BACKOFF_MS;
    }
    if (checked.faulty.length > 0) await this.#giveUp(checked.faulty);
    this.memory.blocked = undefined;
    if (checked.good.length === 0) return 0;
    const planned = await this.#record(checked.good);
    if (planned.length === 0) return 0;
    this.parts.crash.reached('after-plan');
    await this.attempts.sign(planned);
    await this.attempts.broadcast(planned);
    return 0;
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

  async #giveUp(items: readonly Faulty[]): Promise<void> {
    const { log, queue, clock, logger, metrics, book } = this.parts;
    const expiredAtNs = clock.nowNs();
    const held = new Set(
      await log.giveUp(
        fenceOf(this.parts),
        items.map(({ accepted: { intent, traceparent }, reason }) => {
          const { intentId, chainId, subjectId, sponsorId, reservationId } = intent;
          const append: Append = {
            streamId: `intent-${intentId}`,
            expectedVersion: 1n,
            commandId: `expire-${intentId}`,
            events: [relayerCodec.encode({ type: 'IntentExpired', intentId, chainId, subjectId, sponsorId, reservationId, reason, expiredAtNs, detail: '' })],
            traceparent,
          };
          return { intentId, append };
        }),
      ),
    );
    const intentIds = items.map(({ accepted }) => accepted.intent.intentId);
    queue.markTaken(held);
    const done = intentIds.filter((intentId) => !held.has(intentId));
    queue.settle(done);
    metrics.expired(book.chainId, done.length);
    logger.info({ intents: done }, 'intents given up before signing');
  }

  /** Write ahead: which nonce holds which intents is on record before anything is signed. */
  async #record(packs: readonly Pack[]): Promise<readonly OpenTransaction[]> {
    const { book, queue, clock, settings, log, vault, metrics, instance } = this.parts;
    const firstNonce = book.nextNonce;
    if (firstNonce === undefined) throw new InvariantViolated('LANE_BOOK', 'a lane plans before it was reconciled', { lane: book.laneId });
    const fence = fenceOf(this.parts);
    const plannedAtNs = clock.nowNs();
    const planned = packs.map((it, index): Planned => {
      const nonce = firstNonce + BigInt(index);
      const transactionId = transactionIdOf(book.chainId, book.keyAddress, nonce);
      const event = {
        type: 'TransactionPlanned' as const,
        transactionId,
        chainId: book.chainId,
        keyAddress: book.keyAddress,
        nonce,
        to: settings.vaultAddress,
        data: vault.encode(it.intents.map((accepted) => accepted.intent.call), settings.epoch),
        gasLimit: it.gasLimit,
        intentIds: it.intents.map((accepted) => accepted.intent.intentId),
        plannedAtNs,
        fencingToken: fence.fencingToken,
        purpose: TransactionPurpose.TRANSACTION_PURPOSE_EXECUTE,
        valueWei: '',
      };
      book.decide(transactionId, { type: 'Plan', plan: event });
      const streamId = transactionStreamOf(book.chainId, book.keyAddress, nonce);
      return {
        transaction: { transactionId, streamId, nonce, intents: it.intents },
        event,
      };
    });
    // In memory first: from here on no other plan can take these intents. They stay taken whatever the commit answers.
    for (const it of packs) queue.take(it.intents);
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
    // Another lane was first with some of them; the rest of their packs waits for the next plan.
    const others = new Set(claimed);
    for (const { transaction } of planned.slice(recorded)) queue.putBack(transaction.intents.filter((it) => !others.has(it.intent.intentId)));
    metrics.lane(book.chainId, book.keyAddress, book.inFlight(), book.nextNonce ?? 0n);
    return standing.flatMap(({ transaction }) => book.get(transaction.transactionId) ?? []);
  }
}

function ageS(waiting: readonly AcceptedIntent[], nowNs: UnixNs): number {
  let oldest = nowNs;
  for (const { acceptedAtNs } of waiting) if (acceptedAtNs < oldest) oldest = acceptedAtNs;
  return Number(nowNs - oldest) / 1e9;
}

import type { Append, AppendResult } from '@settlement/event-store/port';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import { recordSpan } from '@settlement/observability/tracing';
import type { Logger } from '@settlement/observability/logger';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent, Intent } from '../intent/intent';
import type { Broadcaster } from '../ports/broadcaster';
import type { ChainHead, ChainReader, Receipt } from '../ports/chain-reader';
import type { CrashPoints } from '../ports/crash-points';
import type { LaneOwnership } from '../ports/lane-ownership';
import type { RelayerMetrics } from '../ports/relayer-metrics';
import type { Signer } from '../ports/signer';
import type { VaultCalls } from '../ports/vault-calls';
import type { WorkLookups } from '../ports/work-lookups';
import { relayerCodec } from '../relayer.codec';
import type { TransactionEvent } from '../relayer.events';
import { afterRevert, outcomesOf, type ItemResult } from '../transaction/outcome.policy';
import { transactionIdOf, transactionStreamOf } from '../transaction/transaction.decider';
import { feesFor, type FeeLimits, type Fees } from './fee.policy';
import type { IntentQueue } from './intent-queue';
import type { LaneBook, OpenTransaction } from './lane-book';
import { gasLimitOf, pack, type Pack, type PackLimits } from './pack.policy';
import { LaneLost, refuseConflicts, type Recorder } from './recorder';
import { reconcile } from './reconcile.policy';

export interface LaneSettings {
  readonly eip155: bigint;
  readonly vaultAddress: EvmAddress;
  readonly finalityDepth: bigint;
  readonly epoch: bigint;
  readonly inFlightMax: number;
  readonly pack: PackLimits;
  readonly fees: FeeLimits;
  readonly pollMs: number;
  readonly rebroadcastMs: number;
  /** All partitions in one database: several plans may share one commit. */
  readonly plansShareCommit: boolean;
}

export interface LaneParts {
  readonly settings: LaneSettings;
  readonly book: LaneBook;
  readonly queue: IntentQueue;
  readonly recorder: Recorder;
  readonly partitionOf: (streamId: string) => number;
  readonly signer: Signer;
  readonly broadcaster: Broadcaster;
  readonly reader: ChainReader;
  readonly vault: VaultCalls;
  readonly ownership: LaneOwnership;
  readonly lookups: WorkLookups;
  readonly crash: CrashPoints;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RelayerMetrics;
  /** Distinguishes this process's commands from another's: two owners never pass for one another's repetition. */
  readonly instance: string;
}

export type LaneHealth = { readonly state: 'starting' | 'running' | 'stopped' } | { readonly state: 'waiting' | 'halted'; readonly why: string };

interface Planned {
  readonly transaction: OpenTransaction;
  readonly event: Extract<TransactionEvent, { type: 'TransactionPlanned' }>;
}

interface Final {
  readonly transaction: OpenTransaction;
  readonly events: readonly TransactionEvent[];
  readonly receipt: Receipt;
  /** Given back by a transaction that reverted as a whole. */
  readonly putBack: readonly AcceptedIntent[];
}

/** The planner looks again at least this often; submissions wake it earlier. Milliseconds. */
const PLAN_MS_MAX = 100;
/** After a failure, and while the vault or the fees say no. Milliseconds. */
const BACKOFF_MS = 1_000;
/** Fees change by an eighth a block at most. Milliseconds. */
const FEE_AGE_MS_MAX = 1_000;

/**
 * Runs one lane: one key on one chain. Two loops share the book: the planner puts waiting intents into transactions (plan on
 * record → sign → bytes on record → broadcast), the watcher follows blocks (included → final at depth, reorged, broadcast
 * again). Whatever happens between two records is repeated from the log after a crash; docs/services/relayer.md lists each window.
 */
export class LaneRunner {
  readonly #parts: LaneParts;
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  #health: LaneHealth = { state: 'starting' };
  /** Why the planner plans nothing although intents wait. */
  #blocked: string | undefined;
  /** Bytes went out since receipts were last asked for. */
  #sent = true;
  #head: ChainHead | undefined;
  #fees: { readonly fees: Fees | undefined; readonly atMs: number } | undefined;
  #wake: (() => void) | undefined;

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  get health(): LaneHealth {
    return this.#health.state === 'running' && this.#blocked !== undefined ? { state: 'waiting', why: this.#blocked } : this.#health;
  }

  get keyAddress(): EvmAddress {
    return this.#parts.signer.address;
  }

  get book(): LaneBook {
    return this.#parts.book;
  }

  /** Reconciles the log with the chain and starts both loops. Keeps trying while the chain does not answer. */
  start(): void {
    this.#loops = this.#run();
  }

  /** Ends after the step in hand; what is open stays on record for the next start. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#loops;
    if (this.#health.state !== 'halted') this.#health = { state: 'stopped' };
  }

  get #stopping(): boolean {
    return this.#stop.signal.aborted;
  }

  async #run(): Promise<void> {
    const { logger, clock } = this.#parts;
    try {
      while (!this.#stopping) {
        try {
          await this.#reconcile();
          break;
        } catch (error) {
          if (!(error instanceof OperationalError)) throw error;
          this.#health = { state: 'waiting', why: `not reconciled with the chain yet: ${error.message}` };
          logger.warn({ err: error, lane: this.#parts.book.laneId }, 'lane is not reconciled yet');
          await clock.sleep(BACKOFF_MS, this.#stop.signal);
        }
      }
      if (this.#stopping) return;
      this.#health = { state: 'running' };
      // One loop's end ends the other: half a lane would go on unseen.
      await Promise.all([this.#guard(() => this.#plan()), this.#guard(() => this.#watch())]);
    } catch (error) {
      this.#halt(error);
    }
  }

  #halt(error: unknown): void {
    this.#health = { state: 'halted', why: error instanceof Error ? error.message : String(error) };
    this.#stop.abort();
    this.#parts.logger.fatal({ err: error, lane: this.#parts.book.laneId }, 'lane halted: nothing more is signed or sent with this key');
  }

  /** Repeats a step until the stop; operational trouble pauses it, anything else halts the lane. */
  async #guard(step: () => Promise<number>): Promise<void> {
    const { clock, logger, book } = this.#parts;
    while (!this.#stopping) {
      let pauseMs: number;
      try {
        pauseMs = await step();
      } catch (error) {
        if (this.#stopping && error instanceof OperationalError) return;
        if (!(error instanceof OperationalError)) {
          this.#halt(error);
          return;
        }
        logger.warn({ err: error, lane: book.laneId }, 'lane step failed and is repeated');
        pauseMs = BACKOFF_MS;
      }
      if (pauseMs > 0) await clock.sleep(pauseMs, this.#stop.signal);
    }
  }

  // ------------------------------------------------------------------------------------------------ start

  async #reconcile(): Promise<void> {
    const { book, reader, settings, signer, logger, lookups } = this.#parts;
    const chainId = await reader.chainId();
    if (chainId !== settings.eip155) {
      throw new OperationalError('WRONG_CHAIN', `the endpoint serves chain ${chainId}, not ${settings.eip155}`, 'not-done');
    }
    this.#head = await reader.head();
    const chainCount = await reader.transactionCount(signer.address);
    const nextOfLog = await lookups.nextNonce(book.chainId, book.keyAddress);
    const agreed = reconcile(book.openNonces(), nextOfLog, chainCount);
    if (agreed.outcome !== 'agreed') {
      throw new LaneLost(`log and chain disagree about ${book.laneId} at nonce ${agreed.nonce}: ${agreed.why}. See docs/services/relayer.md`);
    }
    book.startAt(agreed.nextNonce);
    const restored = { nextNonce: agreed.nextNonce.toString(), sign: agreed.sign.length, broadcast: agreed.broadcast.length, look: agreed.look.length };
    if (nextOfLog === undefined && chainCount > 0n) logger.warn({ lane: book.laneId, chainCount: chainCount.toString() }, 'this log has never used the key; its nonces go on from the chain');
    logger.info({ lane: book.laneId, ...restored }, 'lane reconciled');
    const unsigned = book.open().filter((it) => agreed.sign.includes(it.nonce));
    if (unsigned.length > 0) await this.#sign(unsigned);
    await this.#broadcast(book.open().filter((it) => it.lifecycle.phase === 'signed'));
  }

  // ------------------------------------------------------------------------------------------------ planner

  async #plan(): Promise<number> {
    const { queue, book, settings, clock, ownership, metrics } = this.#parts;
    if (ownership.held(book.laneId) === undefined) {
      this.#blocked = 'another process owns the lane';
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
    const { packs, expired } = pack(waiting, slots, { nowNs, chainTimeS: this.#head?.timestampS ?? 0n }, settings.pack);
    if (expired.length > 0) await this.#expire(expired.map((accepted) => ({ accepted, reason: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED })));
    if (packs.length === 0) {
      this.#blocked = undefined;
      await this.#idle();
      return 0;
    }
    const fees = await this.#currentFees();
    if (fees === undefined) {
      this.#blocked = 'gas costs more than FEE_PER_GAS_WEI_MAX';
      return BACKOFF_MS;
    }
    const checked = await this.#simulate(packs);
    if (checked === 'vault-refuses') return BACKOFF_MS;
    this.#blocked = undefined;
    if (checked.length === 0) return 0;
    const planned = await this.#record(checked);
    this.#parts.crash.reached('after-plan');
    await this.#sign(planned);
    await this.#broadcast(planned);
    return 0;
  }

  /** Until something is submitted, a slot frees up or the time is over. */
  async #idle(): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const waiting = this.#parts.queue.size > 0;
    const unsubscribe = waiting ? () => undefined : this.#parts.queue.onAdd(() => this.#wake?.());
    await Promise.race([woken, this.#parts.clock.sleep(waiting ? PLAN_MS_MAX / 4 : PLAN_MS_MAX, this.#stop.signal)]);
    unsubscribe();
  }

  async #currentFees(): Promise<Fees | undefined> {
    const { reader, settings, clock } = this.#parts;
    const nowMs = clock.monotonicMs();
    if (this.#fees === undefined || nowMs - this.#fees.atMs > FEE_AGE_MS_MAX) {
      this.#fees = { fees: feesFor(await reader.fees(), settings.fees), atMs: nowMs };
    }
    return this.#fees.fees;
  }

  /**
   * Executes the very call data against the latest state. A transaction that would revert as a whole is not signed: when the
   * vault refuses everything, all wait; otherwise the items are tried alone and those at fault are given up.
   */
  async #simulate(packs: readonly Pack[]): Promise<readonly Pack[] | 'vault-refuses'> {
    const { reader, vault } = this.#parts;
    const answers = await reader.calls(packs.map((it) => this.#callOf(it.intents, it.gasLimit)));
    const good: Pack[] = [];
    for (const [index, it] of packs.entries()) {
      const answer = answers[index];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
      if (answer.ok) {
        good.push(it);
        continue;
      }
      const whole = vault.revertOf(answer.data);
      if (whole.blame === 'vault') {
        this.#blocked = `the vault refuses: ${whole.name}`;
        this.#parts.logger.error({ lane: this.#parts.book.laneId, revert: whole.name, message: answer.message }, 'the vault refuses every call: intents wait');
        return 'vault-refuses';
      }
      // Only a mined transaction can carry the fact that it was done before; it reverts, and the earlier one is found by its log.
      if (whole.blame === 'done') good.push(it);
      else good.push(...(await this.#isolate(it)));
    }
    return good;
  }

  async #isolate(whole: Pack): Promise<readonly Pack[]> {
    const { reader, vault, settings } = this.#parts;
    const gasOf = (...intents: readonly AcceptedIntent[]): bigint => gasLimitOf(intents.map((it) => it.intent.call), settings.pack.gas);
    const alone = await reader.calls(whole.intents.map((accepted) => this.#callOf([accepted], gasOf(accepted))));
    const faulty: { accepted: AcceptedIntent; reason: IntentReason }[] = [];
    const sound: AcceptedIntent[] = [];
    for (const [index, accepted] of whole.intents.entries()) {
      const answer = alone[index];
      if (answer?.ok === false) faulty.push({ accepted, reason: vault.revertOf(answer.data).reason });
      else sound.push(accepted);
    }
    if (faulty.length > 0) await this.#expire(faulty);
    // Each works alone and all fail together: then each goes alone.
    if (faulty.length === 0) return sound.map((accepted) => ({ ...whole, intents: [accepted], gasLimit: gasOf(accepted) }));
    return sound.length === 0 ? [] : [{ ...whole, intents: sound, gasLimit: gasOf(...sound) }];
  }

  #callOf(intents: readonly AcceptedIntent[], gas: bigint) {
    const { signer, settings, vault } = this.#parts;
    return { from: signer.address, to: settings.vaultAddress, data: vault.encode(intents.map((it) => it.intent.call), settings.epoch), gas };
  }

  async #expire(items: readonly { readonly accepted: AcceptedIntent; readonly reason: IntentReason }[]): Promise<void> {
    const { recorder, queue, clock, logger, metrics, book } = this.#parts;
    const expiredAtNs = clock.nowNs();
    await recorder.append(
      items.map(({ accepted: { intent, traceparent }, reason }): Append => {
        const { intentId, chainId, subjectId, sponsorId, reservationId } = intent;
        return {
          streamId: `intent-${intentId}`,
          expectedVersion: 1n,
          commandId: `expire-${intentId}`,
          events: [relayerCodec.encode({ type: 'IntentExpired', intentId, chainId, subjectId, sponsorId, reservationId, reason, expiredAtNs })],
          traceparent,
        };
      }),
    );
    queue.settle(items.map(({ accepted }) => accepted.intent.intentId));
    metrics.expired(book.chainId, items.length);
    logger.info({ intents: items.map(({ accepted }) => accepted.intent.intentId) }, 'intents given up before signing');
  }

  /** Write ahead: which nonce holds which intents is on record before anything is signed. */
  async #record(packs: readonly Pack[]): Promise<readonly OpenTransaction[]> {
    const { book, queue, clock, settings, recorder, vault, metrics } = this.#parts;
    const firstNonce = book.nextNonce;
    if (firstNonce === undefined) throw new InvariantViolated('LANE_BOOK', 'a lane plans before it was reconciled', { lane: book.laneId });
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
      };
      book.decide(transactionId, { type: 'Plan', plan: event });
      const streamId = transactionStreamOf(book.chainId, book.keyAddress, nonce);
      return {
        transaction: { transactionId, streamId, nonce, intents: it.intents, lifecycle: { phase: 'planned', plan: event }, version: 1n, broadcastAtMs: undefined, receipt: undefined },
        event,
      };
    });
    // In memory first: from here on no other plan can take these intents. They stay taken whatever the commit answers.
    for (const it of packs) queue.take(it.intents);
    const groups = settings.plansShareCommit ? [planned] : planned.map((it) => [it]);
    for (const group of groups) {
      await recorder.transact(this.#parts.partitionOf(group[0]?.transaction.streamId ?? ''), async (tx) => {
        await claim(tx, group);
        refuseConflicts(
          await tx.append(
            group.map(({ transaction, event }) => ({
              streamId: transaction.streamId,
              expectedVersion: 'must-not-exist',
              commandId: `plan-${this.#parts.instance}-${transaction.transactionId}`,
              events: [relayerCodec.encode(event)],
              traceparent: transaction.intents[0]?.traceparent ?? '',
            })),
          ),
        );
      });
      for (const { transaction, event } of group) {
        book.planned(transaction, event, 1n);
        book.startAt(transaction.nonce + 1n);
      }
    }
    metrics.lane(book.chainId, book.keyAddress, book.inFlight(), book.nextNonce ?? 0n);
    return planned.map((it) => it.transaction);
  }

  /** Signs what is planned and puts the bytes on record. A signature that is on record is never made again. */
  async #sign(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, signer, clock, settings, recorder, crash } = this.#parts;
    const fees = (await this.#currentFees()) ?? { feePerGasWeiMax: settings.fees.feePerGasWeiMax, priorityFeePerGasWeiMax: settings.fees.priorityFeeWeiMin };
    const signed: { transaction: OpenTransaction; events: readonly TransactionEvent[] }[] = [];
    for (const transaction of transactions) {
      const lifecycle = book.get(transaction.transactionId)?.lifecycle;
      if (lifecycle?.phase !== 'planned') continue;
      const { plan } = lifecycle;
      // Crash before the next record: these bytes are lost unsent, and signing again cannot make two versions known.
      const { raw, transactionHash } = await signer.sign({
        chainId: settings.eip155,
        nonce: plan.nonce,
        to: plan.to as EvmAddress,
        data: plan.data as HexBytes,
        gasLimit: plan.gasLimit,
        feePerGasWeiMax: fees.feePerGasWeiMax,
        priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax,
      });
      const events = book.decide(transaction.transactionId, {
        type: 'Sign',
        signature: {
          type: 'TransactionSigned',
          transactionId: transaction.transactionId,
          transactionHash,
          raw,
          feePerGasWeiMax: fees.feePerGasWeiMax.toString(),
          priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax.toString(),
          signedAtNs: clock.nowNs(),
        },
      });
      signed.push({ transaction, events });
    }
    const results = await recorder.append(
      signed.map(({ transaction, events }) => this.#appendOf(transaction, 1n, `sign-${this.#parts.instance}-${transaction.transactionId}`, events)),
    );
    this.#apply(signed, results);
    crash.reached('after-sign');
  }

  async #broadcast(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, broadcaster, clock, logger, metrics, crash } = this.#parts;
    const ready = transactions.flatMap(({ transactionId }) => {
      const lifecycle = book.get(transactionId)?.lifecycle;
      return lifecycle?.phase === 'signed' ? [{ transactionId, signature: lifecycle.signature }] : [];
    });
    if (ready.length === 0) return;
    this.#sent = true;
    const outcomes = await broadcaster.broadcast(ready.map(({ signature }) => signature.raw as HexBytes));
    crash.reached('after-broadcast');
    for (const [index, { transactionId, signature }] of ready.entries()) {
      const outcome = outcomes[index] ?? { outcome: 'unknown' as const, why: 'no answer' };
      book.broadcast(transactionId, clock.monotonicMs());
      metrics.broadcast(book.chainId, outcome.outcome);
      const intents = book.get(transactionId)?.intents.length ?? 0;
      const line = { transactionId, transactionHash: signature.transactionHash, intents };
      switch (outcome.outcome) {
        case 'taken':
          logger.info(line, 'transaction broadcast');
          break;
        case 'used':
          // These bytes may be mined already; the watcher finds the receipt, or finds that there is none.
          logger.warn(line, 'nonce is used on the chain: looking for the receipt');
          break;
        case 'refused':
          logger.warn({ ...line, why: outcome.why }, 'broadcast refused: the same bytes go out again');
          break;
        case 'unknown':
          // Unknown is neither sent nor not sent: the chain is asked, and the same bytes go out again.
          metrics.unknownOutcome('broadcast');
          logger.warn({ ...line, why: outcome.why }, 'broadcast outcome unknown: the chain will tell');
          break;
      }
    }
  }

  // ------------------------------------------------------------------------------------------------ watcher

  async #watch(): Promise<number> {
    const { book, reader, settings, clock } = this.#parts;
    const open = book.open();
    const unmined = open.filter((it) => it.lifecycle.phase === 'signed' && it.broadcastAtMs !== undefined);
    const included = open.filter((it) => it.lifecycle.phase === 'included');
    const head = await reader.head();
    const news = head.hash !== this.#head?.hash;
    this.#head = head;
    if (unmined.length > 0 && (news || this.#sent)) {
      this.#sent = false;
      await this.#include(unmined);
    }
    if (included.length > 0 || unmined.length > 0) await this.#finalize(head);
    const nowMs = clock.monotonicMs();
    const late = book.open().filter((it) => it.lifecycle.phase === 'signed' && nowMs - (it.broadcastAtMs ?? 0) > settings.rebroadcastMs);
    if (late.length > 0) {
      await this.#broadcast(late);
      await this.#suspectForeign(late);
    }
    return settings.pollMs;
  }

  async #include(unmined: readonly OpenTransaction[]): Promise<void> {
    const { book, reader, clock, recorder, metrics, crash, logger } = this.#parts;
    const byHash = new Map(unmined.flatMap((it) => (it.lifecycle.phase === 'signed' ? [[it.lifecycle.signature.transactionHash, it] as const] : [])));
    const receipts = await reader.receipts([...byHash.keys()]);
    const mined: { transaction: OpenTransaction; events: readonly TransactionEvent[]; receipt: Receipt }[] = [];
    for (const [hash, transaction] of byHash) {
      const receipt = receipts.get(hash);
      if (receipt === undefined) continue;
      const events = book.decide(transaction.transactionId, {
        type: 'Include',
        inclusion: {
          type: 'TransactionIncluded',
          transactionId: transaction.transactionId,
          chainId: book.chainId,
          transactionHash: hash,
          blockNumber: receipt.blockNumber,
          blockHash: receipt.blockHash,
          status: receipt.status,
          includedAtNs: clock.nowNs(),
        },
      });
      mined.push({ transaction, events, receipt });
    }
    if (mined.length === 0) return;
    // Crash here: mined, not recorded. After the restart the receipt is found by the recorded hash.
    crash.reached('after-mined');
    const results = await recorder.append(
      mined.map(({ transaction, events, receipt }) => this.#appendOf(transaction, transaction.version, `include-${transaction.version}-${receipt.blockHash}`, events)),
    );
    this.#apply(mined, results);
    const nowMs = clock.monotonicMs();
    for (const { transaction, receipt } of mined) {
      metrics.included(book.chainId, nowMs - (transaction.broadcastAtMs ?? nowMs));
      logger.info({ transactionId: transaction.transactionId, transactionHash: receipt.transactionHash, blockNumber: receipt.blockNumber.toString(), status: receipt.status }, 'transaction included');
    }
    // A slot is free.
    this.#wake?.();
  }

  async #finalize(head: ChainHead): Promise<void> {
    const { book, reader, settings } = this.#parts;
    const included = book.open().flatMap((it) => (it.lifecycle.phase === 'included' ? [{ transaction: it, inclusion: it.lifecycle.inclusion }] : []));
    if (included.length === 0) return;
    // The head was read before: what was included above it since is looked at with the next one.
    const reached = included.filter(({ inclusion }) => inclusion.blockNumber <= head.number);
    const canonical = await reader.blockHashes([...new Set(reached.map(({ inclusion }) => inclusion.blockNumber))]);
    const gone = reached.filter(({ inclusion }) => canonical.get(inclusion.blockNumber) !== inclusion.blockHash);
    if (gone.length > 0) await this.#reorg(gone.map(({ transaction }) => transaction));
    const deep = reached.filter((it) => !gone.includes(it) && head.number - it.inclusion.blockNumber >= settings.finalityDepth);
    if (deep.length === 0) return;
    const unread = deep.filter(({ transaction }) => transaction.receipt === undefined);
    if (unread.length > 0) {
      const receipts = await reader.receipts(unread.map(({ inclusion }) => inclusion.transactionHash));
      for (const { transaction, inclusion } of unread) {
        const receipt = receipts.get(inclusion.transactionHash);
        // The block is canonical but its receipt is not served yet: ask again with the next poll.
        if (receipt?.blockHash === inclusion.blockHash) book.remember(transaction.transactionId, receipt);
      }
    }
    const final: Final[] = [];
    for (const { transaction } of deep) {
      const receipt = book.get(transaction.transactionId)?.receipt;
      if (receipt !== undefined) final.push({ transaction, receipt, ...(await this.#verdict(transaction, receipt)) });
    }
    if (final.length > 0) await this.#recordFinal(final);
  }

  async #recordFinal(final: readonly Final[]): Promise<void> {
    const { recorder, crash, queue } = this.#parts;
    // Crash here: final on the chain, not recorded. After the restart the same receipt leads to the same fact.
    crash.reached('before-fact');
    const appendOf = ({ transaction, events, receipt }: Final): Append =>
      this.#appendOf(transaction, transaction.version, `finalize-${receipt.blockHash}`, events);
    const plain = final.filter((it) => it.putBack.length === 0);
    if (plain.length > 0) this.#apply(plain, await recorder.append(plain.map(appendOf)));
    for (const it of final.filter((candidate) => candidate.putBack.length > 0)) {
      const results = await recorder.transact(this.#parts.partitionOf(it.transaction.streamId), async (tx) => {
        await tx.query('DELETE FROM relayer.intent_claim WHERE transaction_id = $1 AND intent_id = ANY ($2)', [it.transaction.transactionId, it.putBack.map((back) => back.intent.intentId)]);
        return refuseConflicts(await tx.append([appendOf(it)]));
      });
      this.#apply([it], results);
      queue.putBack(it.putBack);
    }
    for (const it of final) this.#announce(it);
  }

  /** The fact of a transaction that is final, and the intents that it gives back. */
  async #verdict(transaction: OpenTransaction, receipt: Receipt): Promise<{ events: readonly TransactionEvent[]; putBack: readonly AcceptedIntent[] }> {
    const { book, clock, vault } = this.#parts;
    const { intents } = transaction;
    const costWei = receipt.gasUsed * receipt.gasPriceWei;
    let putBack: readonly AcceptedIntent[] = [];
    let outcomes;
    if (receipt.status === 1) {
      const results = vault.results(intents.map((it) => it.intent.call), receipt.logs);
      outcomes = outcomesOf(intents, await this.#recognise(transaction, results, receipt), costWei);
    } else {
      const verdicts = await this.#reverted(intents, receipt.transactionHash);
      putBack = verdicts.putBack;
      outcomes = verdicts.done.length === 0 ? [] : outcomesOf(verdicts.done, verdicts.results, costWei);
    }
    const events = book.decide(transaction.transactionId, {
      type: 'Finalize',
      finality: {
        type: 'TransactionFinalized',
        transactionId: transaction.transactionId,
        chainId: book.chainId,
        transactionHash: receipt.transactionHash,
        blockNumber: receipt.blockNumber,
        blockHash: receipt.blockHash,
        gasUsed: receipt.gasUsed,
        gasPriceWei: receipt.gasPriceWei.toString(),
        outcomes,
        finalizedAtNs: clock.nowNs(),
      },
    });
    return { events, putBack };
  }

  /**
   * "Used" and "duplicate" are failures only when somebody else's intent did it. After a restore the log may have forgotten a
   * transaction that went through: then this very call was executed, as the earlier transaction's own logs prove.
   */
  async #recognise(transaction: OpenTransaction, results: readonly ItemResult[], receipt: Receipt): Promise<readonly ItemResult[]> {
    return Promise.all(
      results.map(async (result, index) => {
        const intent = transaction.intents[index]?.intent;
        if (intent === undefined || result.executed || !SEEN_BEFORE.has(result.reason)) return result;
        return (await this.#earlier(intent, receipt.transactionHash)) ?? result;
      }),
    );
  }

  async #earlier(intent: Intent, butNot: string): Promise<ItemResult | undefined> {
    const { reader, lookups, logger, vault } = this.#parts;
    if (await lookups.claimedByOther(intent)) return undefined;
    const logs = await reader.logs({ ...vault.traceOf(intent.call), fromBlock: 0n });
    const earlier = logs.find((log) => log.transactionHash !== butNot);
    if (earlier === undefined) return undefined;
    const receipt = (await reader.receipts([earlier.transactionHash])).get(earlier.transactionHash);
    const result = receipt === undefined ? undefined : vault.earlierResult(intent.call, receipt.logs);
    if (result !== undefined) {
      logger.warn({ intentId: intent.intentId, transactionHash: earlier.transactionHash }, 'executed by an earlier transaction that this log does not know');
    }
    return result;
  }

  async #reverted(intents: readonly AcceptedIntent[], transactionHash: string): Promise<{ putBack: readonly AcceptedIntent[]; done: readonly AcceptedIntent[]; results: readonly ItemResult[] }> {
    const { reader, vault, settings, lookups, metrics, book } = this.#parts;
    metrics.reverted(book.chainId, intents.length);
    const reverts = await lookups.reverts(intents.map((it) => it.intent.intentId));
    const answers = await reader.calls(intents.map((it) => this.#callOf([it], gasLimitOf([it.intent.call], settings.pack.gas))));
    const putBack: AcceptedIntent[] = [];
    const done: AcceptedIntent[] = [];
    const results: ItemResult[] = [];
    for (const [index, accepted] of intents.entries()) {
      const answer = answers[index];
      const revert = answer?.ok === false ? vault.revertOf(answer.data) : undefined;
      if (revert?.blame === 'done') {
        done.push(accepted);
        results.push((await this.#earlier(accepted.intent, transactionHash)) ?? { executed: false, reason: revert.reason });
        continue;
      }
      const alone = revert === undefined ? 'works' : revert.blame === 'vault' ? 'vault-refuses' : { reason: revert.reason };
      const verdict = afterRevert(reverts.get(accepted.intent.intentId) ?? 0, alone);
      if (verdict.next === 'put-back') putBack.push(accepted);
      else {
        done.push(accepted);
        results.push({ executed: false, reason: verdict.reason });
      }
    }
    return { putBack, done, results };
  }

  /** What was included is not any more: on record, then the same bytes go out again. */
  async #reorg(transactions: readonly OpenTransaction[]): Promise<void> {
    const { book, recorder, clock, logger, metrics } = this.#parts;
    const gone = transactions.flatMap((transaction) => {
      if (transaction.lifecycle.phase !== 'included') return [];
      const { inclusion } = transaction.lifecycle;
      const { transactionId } = transaction;
      const events = book.decide(transactionId, {
        type: 'Reorg',
        reorg: { type: 'TransactionReorged', transactionId, chainId: book.chainId, transactionHash: inclusion.transactionHash, blockHash: inclusion.blockHash, reorgedAtNs: clock.nowNs() },
      });
      logger.warn({ transactionId, transactionHash: inclusion.transactionHash, blockHash: inclusion.blockHash }, 'transaction reorged: its block is no longer canonical');
      return [{ transaction, events, blockHash: inclusion.blockHash }];
    });
    const results = await recorder.append(gone.map(({ transaction, events, blockHash }) => this.#appendOf(transaction, transaction.version, `reorg-${transaction.version}-${blockHash}`, events)));
    this.#apply(gone, results);
    for (const _ of gone) metrics.reorged(book.chainId);
    await this.#broadcast(gone.map(({ transaction }) => transaction));
  }

  /** Sent long ago, no receipt, and yet the chain has used the nonce: somebody else signs with this key. */
  async #suspectForeign(late: readonly OpenTransaction[]): Promise<void> {
    const { reader, signer, book } = this.#parts;
    const count = await reader.transactionCount(signer.address);
    for (const transaction of late) {
      if (transaction.nonce >= count) continue;
      const lifecycle = book.get(transaction.transactionId)?.lifecycle;
      if (lifecycle?.phase !== 'signed') continue;
      // Count first, receipt second: a transaction that is mined in between has its receipt here.
      const receipt = (await reader.receipts([lifecycle.signature.transactionHash])).get(lifecycle.signature.transactionHash);
      if (receipt === undefined) {
        throw new LaneLost(`nonce ${transaction.nonce} of ${book.laneId} is used on the chain by a transaction that this log does not know`);
      }
    }
  }

  // ------------------------------------------------------------------------------------------------ records

  #appendOf(transaction: OpenTransaction, expectedVersion: bigint, commandId: string, events: readonly TransactionEvent[]): Append {
    return {
      streamId: transaction.streamId,
      expectedVersion,
      commandId,
      events: events.map((event) => relayerCodec.encode(event)),
      traceparent: transaction.intents[0]?.traceparent ?? '',
    };
  }

  #apply(items: readonly { readonly transaction: OpenTransaction; readonly events: readonly TransactionEvent[]; readonly receipt?: Receipt }[], results: readonly AppendResult[]): void {
    for (const [index, { transaction, events, receipt }] of items.entries()) {
      const result = results[index];
      if (result === undefined || result.outcome === 'conflict') throw new InvariantViolated('LANE_BOOK', 'an append has no answer', { transactionId: transaction.transactionId });
      this.#parts.book.recorded(transaction.transactionId, events, result.streamVersion, receipt);
    }
  }

  #announce({ transaction, events, receipt, putBack }: Final): void {
    const { queue, book, logger, metrics, clock } = this.#parts;
    const back = new Set(putBack.map((it) => it.intent.intentId));
    const done = transaction.intents.filter((it) => !back.has(it.intent.intentId));
    const executed = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes : [])).filter((outcome) => outcome.executed).length;
    queue.settle(done.map((it) => it.intent.intentId));
    const kind = transaction.intents[0]?.intent.call.kind ?? 'collect';
    metrics.finalized(book.chainId, kind, executed, done.length - executed, receipt.gasUsed);
    logger.info(
      {
        transactionId: transaction.transactionId,
        transactionHash: receipt.transactionHash,
        blockNumber: receipt.blockNumber.toString(),
        gasUsed: receipt.gasUsed.toString(),
        executed,
        intents: done.map((it) => it.intent.intentId),
        putBack: [...back],
      },
      'transaction final',
    );
    const endMs = clock.nowMs();
    for (const { intent, traceparent, acceptedAtNs } of done) {
      const attributes = { 'settlement.intent': intent.intentId, 'settlement.subject': intent.subjectId, 'chain.transaction_hash': receipt.transactionHash, 'chain.block': Number(receipt.blockNumber) };
      const plan = transaction.lifecycle.phase === 'absent' ? undefined : transaction.lifecycle.plan;
      const queued = recordSpan('relayer.queue', { parent: traceparent, startMs: Number(acceptedAtNs / 1_000_000n), endMs: Number((plan?.plannedAtNs ?? acceptedAtNs) / 1_000_000n) });
      recordSpan(`chain.${intent.call.kind}`, { parent: queued, startMs: Number((plan?.plannedAtNs ?? acceptedAtNs) / 1_000_000n), endMs, attributes });
    }
  }
}

/** What the chain answers when a call was executed before, by whomever. */
const SEEN_BEFORE: ReadonlySet<IntentReason> = new Set([IntentReason.INTENT_REASON_AUTHORIZATION_USED, IntentReason.INTENT_REASON_DUPLICATE]);

function ageS(waiting: readonly AcceptedIntent[], nowNs: UnixNs): number {
  let oldest = nowNs;
  for (const { acceptedAtNs } of waiting) if (acceptedAtNs < oldest) oldest = acceptedAtNs;
  return Number(nowNs - oldest) / 1e9;
}

/** The durable guard of I2: a second claim of an intent finds the first one's row. */
async function claim(tx: { query(text: string, values: readonly unknown[]): Promise<readonly Record<string, unknown>[]> }, group: readonly Planned[]): Promise<void> {
  const pairs = group.flatMap(({ transaction }) => transaction.intents.map((it) => [it.intent.intentId, transaction.transactionId] as const));
  const rows = await tx.query(
    `INSERT INTO relayer.intent_claim AS it (intent_id, transaction_id) SELECT * FROM unnest($1::text[], $2::text[])
     ON CONFLICT (intent_id) DO UPDATE SET transaction_id = excluded.transaction_id WHERE it.transaction_id = excluded.transaction_id
     RETURNING intent_id`,
    [pairs.map(([intentId]) => intentId), pairs.map(([, transactionId]) => transactionId)],
  );
  if (rows.length !== pairs.length) {
    throw new InvariantViolated('I2', 'an intent was to go into a second transaction', { transactions: group.map((it) => it.transaction.transactionId) });
  }
}

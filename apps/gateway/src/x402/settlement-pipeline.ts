import { OperationalError } from '@settlement/kernel/errors';
import type { Logger } from '@settlement/observability/logger';
import type { DirectRelayer } from '../ports/direct-relayer';
import type { CallOrigin, Screener } from '../ports/screener';
import type { ReservationRequest, Sponsor } from '../ports/sponsor';
import type { ExecutionFinder } from './execution-finder';
import { soughtOf } from './execution-watch';
import { relayRefusalReason, USED_CODES } from './outcome-reasons';
import { OWN_REASONS } from './reasons';
import type { SettlementCommand } from './settlement.decider';
import { settlementPeerIds, type SettlementId } from './settlement-id';
import type { ReadSettlement, SettlementLog } from './settlement-log';

export interface PipelineOptions {
  readonly log: SettlementLog;
  readonly screener: Screener;
  readonly sponsor: Sponsor;
  readonly relayer: DirectRelayer;
  readonly finder: ExecutionFinder;
  readonly logger: Logger;
  /** Settlements that one call to a peer holds at most. */
  readonly batchMax: number;
  readonly isAwaited: (settlementId: SettlementId) => boolean;
  /** Ends the calls to the peers when the service stops. */
  readonly signal: AbortSignal;
}

/** Until a peer's answer counts as missing. A resource server waits meanwhile. */
const PEER_TIMEOUT_MS = 5_000;
/** Long enough for requests of one moment to share the calls, short against the three calls themselves. */
const GATHER_MS = 3;
/** One batch is under way while the next gathers. */
const LANES = 2;

interface Waiting {
  readonly settlementId: SettlementId;
  resolve(read: ReadSettlement): void;
  reject(error: unknown): void;
}

type Item<T extends string> = ReadSettlement & { readonly state: Extract<ReadSettlement['state'], { status: T }> };

/**
 * From *accepted* to *submitted*: screening, gas, relay, each asked once for all settlements that wait at the same time.
 *
 * What was answered is recorded before the relayer is called: until then a settlement may be withdrawn, afterwards it may not,
 * and the version that both append at decides which came first. Crash windows: before that record the peers answer the same ids
 * again; after it the relayer is called again with the same intent id and answers what it recorded.
 */
export class SettlementPipeline {
  private readonly waiting = new Map<SettlementId, { readonly promise: Promise<ReadSettlement> }>();
  private queue: Waiting[] = [];
  private lanes = 0;

  constructor(private readonly options: PipelineOptions) {}

  /**
   * Takes a settlement as far as *submitted* or its refusal and answers how it stands. Callers with the same settlement share one
   * run. Throws `OperationalError` when a peer cannot be asked: then it stands where it stood.
   */
  advance(settlementId: SettlementId): Promise<ReadSettlement> {
    const running = this.waiting.get(settlementId);
    if (running !== undefined) return running.promise;
    const promise = new Promise<ReadSettlement>((resolve, reject) => {
      this.queue.push({ settlementId, resolve, reject });
    }).finally(() => this.waiting.delete(settlementId));
    this.waiting.set(settlementId, { promise });
    this.pump();
    return promise;
  }

  private pump(): void {
    if (this.lanes >= LANES || this.queue.length === 0) return;
    this.lanes += 1;
    setTimeout(() => {
      const batch = this.queue.splice(0, this.options.batchMax);
      void this.run(batch).finally(() => {
        this.lanes -= 1;
        this.pump();
      });
    }, GATHER_MS);
  }

  private async run(batch: readonly Waiting[]): Promise<void> {
    const callers = new Map(batch.map((waiting) => [waiting.settlementId, waiting]));
    try {
      const results = await this.advanceAll(batch.map(({ settlementId }) => settlementId));
      for (const [settlementId, result] of results) {
        if (result instanceof Error) callers.get(settlementId)?.reject(result);
        else callers.get(settlementId)?.resolve(result);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  private async advanceAll(settlementIds: readonly SettlementId[]): Promise<ReadonlyMap<SettlementId, ReadSettlement | Error>> {
    const { log } = this.options;
    const results = new Map<SettlementId, ReadSettlement | Error>();
    const keep = (reads: readonly ReadSettlement[]): void => {
      for (const read of reads) results.set(read.settlementId, read);
    };
    const reads = await log.read(settlementIds);
    keep(reads);
    const accepted = reads.filter((read): read is Item<'accepted'> => read.state.status === 'accepted');
    if (accepted.length > 0) {
      const { decided, failed } = await this.screenAndSponsor(accepted);
      for (const [settlementId, error] of failed) results.set(settlementId, error);
      const after = await log.decide(decided);
      keep(after);
      await this.releaseLost(decided, after);
    }
    const sponsored = [...results.values()].filter((read): read is Item<'sponsored'> => !(read instanceof Error) && read.state.status === 'sponsored');
    if (sponsored.length > 0) {
      try {
        keep(await this.submit(sponsored));
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
        for (const { settlementId } of sponsored) results.set(settlementId, error);
      }
    }
    return results;
  }

  /** What to record of each, and which could not be decided because a peer did not answer. */
  private async screenAndSponsor(accepted: readonly Item<'accepted'>[]): Promise<{ readonly decided: readonly { readonly read: ReadSettlement; readonly command: SettlementCommand }[]; readonly failed: ReadonlyMap<SettlementId, Error> }> {
    const { log, screener, sponsor, relayer } = this.options;
    const nowNs = log.clock.nowNs();
    const decided: { readonly read: ReadSettlement; readonly command: SettlementCommand }[] = [];
    const failed = new Map<SettlementId, Error>();
    const fail = (items: readonly ReadSettlement[], error: unknown): void => {
      if (!(error instanceof OperationalError)) throw error;
      for (const { settlementId } of items) failed.set(settlementId, error);
    };
    const withIds = accepted.map((read) => ({ read, ids: settlementPeerIds(read.settlementId, read.state.terms.attempt) }));

    let screenings;
    try {
      screenings = await screener.screenMany(
        withIds.map(({ read: { state: { terms } }, ids }) => ({ screeningId: ids.screeningId, paymentId: ids.subjectId, chainId: terms.chainId, payer: terms.payer, payee: terms.payee })),
        this.origin(accepted),
      );
    } catch (error) {
      fail(accepted, error);
      return { decided, failed };
    }
    const allowed: { readonly read: Item<'accepted'>; readonly ids: ReturnType<typeof settlementPeerIds>; readonly listVersions: readonly string[] }[] = [];
    withIds.forEach(({ read, ids }, i) => {
      const answer = screenings[i];
      if (answer === undefined) failed.set(read.settlementId, new OperationalError('PEER_ANSWER_MISSING', `screening did not answer for ${ids.screeningId}`, 'unknown'));
      else if (answer.verdict === 'hold') decided.push({ read, command: { type: 'Refuse', stage: 'screening', reason: OWN_REASONS.screeningHold, code: answer.reason, nowNs } });
      else if (answer.verdict === 'reject') decided.push({ read, command: { type: 'Refuse', stage: 'screening', reason: OWN_REASONS.screeningRejected, code: answer.code, nowNs } });
      else if (read.state.terms.foreign !== undefined) {
        decided.push({ read, command: { type: 'RecordForeignExecution', screeningId: ids.screeningId, listVersions: answer.listVersions, answered: this.options.isAwaited(read.settlementId), nowNs } });
      } else allowed.push({ read, ids, listVersions: answer.listVersions });
    });
    if (allowed.length === 0) return { decided, failed };

    try {
      const requests: ReservationRequest[] = [];
      for (const { read: { state: { terms } }, ids } of allowed) {
        requests.push({ reservationId: ids.reservationId, sponsorId: terms.sponsorId, chainId: terms.chainId, paymentId: ids.subjectId, amountMax: await relayer.costMax(terms, this.origin(accepted)) });
      }
      const reservations = await sponsor.reserveMany(requests, this.origin(accepted));
      allowed.forEach(({ read, ids, listVersions }, i) => {
        const answer = reservations[i];
        if (answer === undefined) failed.set(read.settlementId, new OperationalError('PEER_ANSWER_MISSING', `the paymaster did not answer for ${ids.reservationId}`, 'unknown'));
        else if (answer.reserved) decided.push({ read, command: { type: 'RecordSponsorship', screeningId: ids.screeningId, listVersions, reservationId: ids.reservationId, reserved: answer.amount, nowNs } });
        else {
          const reason = answer.code === 'SPONSOR_BUDGET_EXCEEDED' ? OWN_REASONS.sponsorBudget : OWN_REASONS.sponsorRefused;
          decided.push({ read, command: { type: 'Refuse', stage: 'sponsorship', reason, code: answer.code, nowNs } });
        }
      });
    } catch (error) {
      fail(allowed.map(({ read }) => read), error);
    }
    return { decided, failed };
  }

  private async submit(sponsored: readonly Item<'sponsored'>[]): Promise<readonly ReadSettlement[]> {
    const { log, relayer } = this.options;
    const items = sponsored.map((read) => ({ read, ids: settlementPeerIds(read.settlementId, read.state.terms.attempt) }));
    const answers = await relayer.submitMany(
      items.map(({ read: { state }, ids }) => ({ intentId: ids.intentId, screeningId: state.screeningId, reservationId: state.reservationId, terms: state.terms })),
      this.origin(sponsored),
    );
    const nowNs = log.clock.nowNs();
    const refused: Item<'sponsored'>[] = [];
    const decided = await Promise.all(
      items.map(async ({ read, ids }, i): Promise<{ readonly read: ReadSettlement; readonly command: SettlementCommand }> => {
        const answer = answers[i];
        if (answer === undefined) throw new OperationalError('PEER_ANSWER_MISSING', `the relayer did not answer for ${ids.intentId}`, 'unknown');
        if (answer.accepted) return { read, command: { type: 'RecordSubmission', intentId: ids.intentId, nowNs } };
        refused.push(read);
        const { terms } = read.state;
        // Somebody else was faster than the relayer: then the payee is paid.
        const execution = USED_CODES.has(answer.code) ? await this.options.finder.find(soughtOf(terms)) : undefined;
        if (execution !== undefined) return { read, command: { type: 'RecordExecution', execution, foreign: true, answered: this.options.isAwaited(read.settlementId), nowNs } };
        return { read, command: { type: 'Refuse', stage: 'relay', reason: relayRefusalReason(answer.code, terms.authorization.method), code: answer.code, nowNs } };
      }),
    );
    // Before the refusal is recorded: after it nobody would come back to give the gas back.
    await this.release(refused);
    return log.decide(decided);
  }

  /** Gas that was reserved for what has been withdrawn or refused meanwhile. */
  private async releaseLost(decided: readonly { readonly read: ReadSettlement; readonly command: SettlementCommand }[], after: readonly ReadSettlement[]): Promise<void> {
    const lost = decided.flatMap(({ read, command }, i) => {
      const { state } = after[i] ?? read;
      return command.type === 'RecordSponsorship' && (state.status === 'withdrawn' || state.status === 'refused')
        ? [{ reservationId: command.reservationId, sponsorId: state.terms.sponsorId }]
        : [];
    });
    if (lost.length > 0) await this.options.sponsor.releaseMany(lost, this.origin([]));
  }

  private async release(reads: readonly Item<'sponsored'>[]): Promise<void> {
    if (reads.length === 0) return;
    await this.options.sponsor.releaseMany(reads.map(({ state }) => ({ reservationId: state.reservationId, sponsorId: state.terms.sponsorId })), this.origin(reads));
  }

  private origin(reads: readonly ReadSettlement[]): CallOrigin {
    return { signal: AbortSignal.any([this.options.signal, AbortSignal.timeout(PEER_TIMEOUT_MS)]), traceparent: reads[0]?.traceparent ?? '' };
  }
}

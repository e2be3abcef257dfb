import { nsToMs } from '@settlement/kernel/time';
import { QuarantineReason, quarantineReasonToJSON } from '@settlement/proto/relayer/v1/relayer';
import { relayerCodec } from '../relayer.codec';
import type { LaneEvent } from '../relayer.events';
import type { Attempts } from './attempts';
import { fenceOf, type GuardSettings, type LaneMemory, type LaneParts } from './lane-parts';
import { decideQuarantine, ITSELF, type Quarantine } from './quarantine.policy';
import { reconcileAtStart } from './start-reconciliation';

/**
 * Looks after the lane's standing: balance, failures, age, and the chain's count of the key, which no transaction of this log
 * may be behind. A lane in quarantine goes on following what it has sent and plans nothing new; what waits goes to others.
 */
export class LaneGuard {
  #pardoned: string | undefined;
  /** In force, and not known to be on record: others would not see it, nor the next owner. */
  #unrecorded: Quarantine | undefined;
  /** Distinguishes this owner's commands; the fencing token distinguishes it from others'. */
  #commands = 0;

  constructor(
    private readonly parts: LaneParts,
    private readonly memory: LaneMemory,
    private readonly attempts: Attempts,
    private readonly settings: GuardSettings,
  ) {}

  /** A person has reinstated the lane: it is on record. */
  pardon(by: string): void {
    this.#pardoned = by;
  }

  async step(): Promise<number> {
    const { reader, signer, book } = this.parts;
    const { memory } = this;
    this.#measure();
    await this.#recordQuarantine();
    if (this.#pardoned !== undefined) await this.#reinstate();
    const balanceWei = await reader.balanceWei(signer.address);
    const chainCount = await reader.transactionCount(signer.address);
    memory.seen = { balanceWei, chainCount };
    // Own transactions are planned before they are mined: a count beyond the plan is somebody else's doing, seen without a restart.
    if (book.nextNonce !== undefined && chainCount > book.nextNonce && memory.distrust === undefined) await this.#reconcile();
    else if (memory.distrust?.reason === QuarantineReason.QUARANTINE_REASON_NONCE_DISAGREES) await this.#reconcile();
    const decision = decideQuarantine(memory.quarantine, { keyAddress: signer.address, balanceWei, distrust: memory.distrust, ...memory.failures, oldestInFlightMs: this.#oldestInFlightMs() }, this.settings);
    if (decision.next === 'begin') await this.#begin(decision.quarantine);
    if (decision.next === 'end') await this.#end(decision.why);
    return this.settings.checkMs;
  }

  #oldestInFlightMs(): number {
    const { book, clock } = this.parts;
    let oldest = 0;
    for (const { lifecycle } of book.open()) {
      if (lifecycle.phase === 'planned' || lifecycle.phase === 'signed') oldest = Math.max(oldest, clock.nowMs() - nsToMs(lifecycle.plan.plannedAtNs));
    }
    return oldest;
  }

  async #begin(quarantine: Quarantine): Promise<void> {
    const { book, logger } = this.parts;
    // In memory first: nothing is planned while the record is on its way.
    this.memory.quarantine = quarantine;
    this.#measure();
    const { reason, detail } = quarantine;
    logger.error({ lane: book.laneId, reason: quarantineReasonToJSON(reason), detail }, 'lane quarantined: it plans nothing new');
    this.#unrecorded = quarantine;
    await this.#recordQuarantine();
  }

  async #recordQuarantine(): Promise<void> {
    const { book, clock } = this.parts;
    if (this.#unrecorded === undefined) return;
    const { fencingToken } = fenceOf(this.parts);
    await this.#record({ type: 'LaneQuarantined', chainId: book.chainId, keyAddress: book.keyAddress, ...this.#unrecorded, fencingToken, quarantinedAtNs: clock.nowNs() });
    this.#unrecorded = undefined;
  }

  async #end(why: string): Promise<void> {
    const { book, clock, logger } = this.parts;
    await this.#record({ type: 'LaneReinstated', chainId: book.chainId, keyAddress: book.keyAddress, by: ITSELF, reinstatedAtNs: clock.nowNs() });
    this.memory.quarantine = undefined;
    this.#measure();
    logger.warn({ lane: book.laneId, why }, 'lane reinstated');
    this.memory.wake();
  }

  async #reinstate(): Promise<void> {
    const { book, logger } = this.parts;
    const by = this.#pardoned;
    await this.#reconcile(true);
    this.#pardoned = undefined;
    this.memory.failures = { failuresInARow: 0, lastFailure: undefined };
    this.memory.quarantine = undefined;
    this.#measure();
    logger.warn({ lane: book.laneId, by }, 'lane reinstated');
    this.memory.wake();
  }

  /** Never beside a plan: both give out nonces. */
  #reconcile(pardoned = false): Promise<void> {
    return this.memory.exclusively(() => reconcileAtStart(this.parts, this.memory, this.attempts, pardoned));
  }

  #measure(): void {
    const { metrics, book } = this.parts;
    const { quarantine } = this.memory;
    metrics.quarantined(book.chainId, book.keyAddress, quarantine === undefined ? undefined : quarantineReasonToJSON(quarantine.reason));
  }

  async #record(event: LaneEvent): Promise<void> {
    const { log, book } = this.parts;
    const fence = fenceOf(this.parts);
    this.#commands += 1;
    await log.append(fence, [{ streamId: `lane-${book.laneId}`, expectedVersion: 'any', commandId: `standing-${fence.fencingToken}-${this.#commands}`, events: [relayerCodec.encode(event)] }]);
  }
}

import type { EvmAddress } from '@settlement/kernel/address';
import { relayerCodec } from '../relayer.codec';
import { fenceOf, type LaneDuty, type LaneMemory, type LaneParts } from './lane-parts';
import type { OpenWork } from './open-work';
import { decideTopUp, type TopUpLimits } from './top-up.policy';

export interface TopUpSettings extends TopUpLimits {
  readonly checkMs: number;
}

/**
 * Gives the keys of one chain gas money from the treasury's key. Runs with the treasury's own lane: its fence admits one
 * writer, and what was given is read from the log, which the lane has caught up with before it runs.
 */
export class TopUps implements LaneDuty {
  /** On record, and not read back yet. */
  readonly #recorded = new Set<string>();
  #why: string | undefined;

  constructor(
    private readonly keys: readonly EvmAddress[],
    private readonly work: OpenWork,
    private readonly settings: TopUpSettings,
  ) {}

  async step(parts: LaneParts, memory: LaneMemory): Promise<number> {
    const { reader, signer, book, clock, logger } = parts;
    const { checkMs } = this.settings;
    for (const intentId of this.#recorded) if (this.work.status(intentId) !== undefined) this.#recorded.delete(intentId);
    if (this.#recorded.size > 0) return Math.min(checkMs, 100);
    if (memory.quarantine !== undefined || memory.distrust !== undefined) return checkMs;
    const treasuryWei = await reader.balanceWei(signer.address);
    for (const address of this.keys) {
      const balanceWei = await reader.balanceWei(address);
      const decision = decideTopUp({ address, balanceWei }, this.work.topUps(book.chainId), treasuryWei, clock.nowNs(), this.settings);
      if (decision.next === 'limit') {
        if (this.#why !== decision.why) logger.error({ lane: book.laneId, key: address, why: decision.why }, 'a key is low on gas and is not topped up');
        this.#why = decision.why;
        memory.lastError = { message: decision.why, atNs: clock.nowNs() };
      }
      if (decision.next !== 'send') continue;
      await this.#record(parts, address, decision.amountWei);
      // One at a time: limits count what has been read back.
      return Math.min(checkMs, 100);
    }
    return checkMs;
  }

  async #record(parts: LaneParts, to: EvmAddress, amountWei: bigint): Promise<void> {
    const { log, book, clock, logger } = parts;
    const acceptedAtNs = clock.nowNs();
    const intentId = `${TOP_UP_PREFIX}${book.chainId}-${to}-${acceptedAtNs}`;
    this.#recorded.add(intentId);
    await log.append(fenceOf(parts), [
      {
        streamId: `intent-${intentId}`,
        expectedVersion: 'must-not-exist',
        commandId: `top-up-${intentId}`,
        events: [
          relayerCodec.encode({
            type: 'IntentAccepted',
            acceptedAtNs,
            intent: { intentId, chainId: book.chainId, subjectId: intentId, screeningId: '', sponsorId: '', reservationId: '', kind: { $case: 'topUp', value: { to, amountWei: amountWei.toString() } } },
          }),
        ],
      },
    ]);
    logger.warn({ lane: book.laneId, key: to, amountWei: amountWei.toString() }, 'key is topped up from the treasury');
  }
}

export const TOP_UP_PREFIX = 'topup-';

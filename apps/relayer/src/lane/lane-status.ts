import { nsToMs, type Clock } from '@settlement/kernel/time';
import { OperationalError } from '@settlement/kernel/errors';
import { LaneState, type LaneStatus } from '@settlement/proto/relayer/v1/relayer';
import type { EvmAddress } from '@settlement/kernel/address';
import type { ChainReader } from '../ports/chain-reader';
import type { LeaseRow } from '../ports/lane-leases';
import type { LaneRunner } from './lane-runner';
import type { OpenWork } from './open-work';

export interface LaneStatusParts {
  readonly laneId: string;
  readonly chainId: string;
  readonly keyAddress: string;
  readonly lease: LeaseRow | undefined;
  /** When it runs in this process. */
  readonly runner: LaneRunner | undefined;
  readonly work: OpenWork;
  readonly reader: ChainReader;
  readonly clock: Clock;
}

/** A lane as this process knows it: of its own all, of another's what log, lease table and chain say. */
export async function laneStatus({ laneId, chainId, keyAddress, lease, runner, work, reader, clock }: LaneStatusParts): Promise<LaneStatus> {
  const seen = await ofChain(reader, keyAddress as EvmAddress);
  const quarantine = runner?.memory.quarantine ?? runner?.memory.distrust ?? work.standing(laneId);
  const owned = lease !== undefined && lease.owner !== '' && !lease.expired;
  const lastError = runner?.memory.lastError ?? (seen.error === undefined ? undefined : { message: seen.error, atNs: clock.nowNs() });
  const oldestAtNs = work.oldestInFlightAtNs(chainId, keyAddress);
  return {
    chainId,
    keyAddress,
    ...stateOf(owned, runner, quarantine !== undefined),
    quarantineReason: quarantine?.reason ?? 0,
    ...(quarantine === undefined ? {} : { why: quarantine.detail }),
    owner: owned ? lease.owner : '',
    fencingToken: lease?.fencingToken ?? 0n,
    leaseExpiresAtNs: owned ? lease.expiresAtNs : 0n,
    nextNonce: runner?.book.nextNonce ?? work.nextNonce(chainId, keyAddress) ?? seen.nonce,
    chainNonce: seen.nonce,
    inFlight: runner?.inFlight() ?? work.inFlight(chainId, keyAddress),
    oldestInFlightMs: oldestAtNs === undefined ? 0n : BigInt(Math.max(0, clock.nowMs() - nsToMs(oldestAtNs))),
    balanceWei: seen.balanceWei,
    lastError: lastError?.message ?? '',
    lastErrorAtNs: lastError?.atNs ?? 0n,
  };
}

function stateOf(owned: boolean, runner: LaneRunner | undefined, quarantined: boolean): { readonly state: LaneState; readonly why: string } {
  if (!owned) return { state: LaneState.LANE_STATE_UNOWNED, why: 'nobody holds its lease' };
  if (quarantined) return { state: LaneState.LANE_STATE_QUARANTINED, why: '' };
  const health = runner?.health;
  switch (health?.state) {
    case undefined:
    case 'running':
      return { state: LaneState.LANE_STATE_ACTIVE, why: '' };
    case 'starting':
    case 'stopped':
      return { state: LaneState.LANE_STATE_STARTING, why: '' };
    case 'waiting':
      return { state: LaneState.LANE_STATE_WAITING, why: health.why };
    case 'quarantined':
      return { state: LaneState.LANE_STATE_QUARANTINED, why: health.why };
    case 'halted':
      return { state: LaneState.LANE_STATE_WAITING, why: `halted: ${health.why}` };
  }
}

async function ofChain(reader: ChainReader, keyAddress: EvmAddress): Promise<{ readonly nonce: bigint; readonly balanceWei: string; readonly error?: string }> {
  try {
    const [nonce, balanceWei] = await Promise.all([reader.transactionCount(keyAddress), reader.balanceWei(keyAddress)]);
    return { nonce, balanceWei: balanceWei.toString() };
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    return { nonce: 0n, balanceWei: '', error: `the chain did not answer: ${error.message}` };
  }
}

import { OperationalError } from '@settlement/kernel/errors';
import type { UnixNs } from '@settlement/kernel/time';
import type { LaneLeases, Lease, LeaseRow } from '../src/ports/lane-leases';
import type { Replicas } from '../src/ports/replicas';
import { relayerCodec } from '../src/relayer.codec';
import type { LaneEvent } from '../src/relayer.events';
import type { FaultCounts } from './faults';
import type { Incarnation } from './incarnation';
import type { Mutation } from './mutations';
import type { SimulatedDatabase } from './simulated-database';
import { GENESIS_MS, type VirtualClock } from './virtual-clock';

const LEASE_CALL_MS = 2;

/** `LaneLeases` and `Replicas` on the database's own virtual clock. */
export class SimulatedLeases implements LaneLeases, Replicas {
  constructor(
    private readonly parts: {
      readonly incarnation: Incarnation;
      readonly database: SimulatedDatabase;
      readonly clock: VirtualClock;
      readonly leaseMs: number;
      readonly counts: FaultCounts;
      readonly mutation: Mutation | undefined;
    },
  ) {}

  acquire(laneId: string, owner: string): Promise<Lease | undefined> {
    const { database, leaseMs, counts, mutation, clock } = this.parts;
    const askedMs = clock.monotonicMs();
    return this.#call(`acquire ${laneId}`, () => {
      const row = database.leases.get(laneId);
      if (row !== undefined && mutation === 'leases-for-everybody') return { laneId, fencingToken: row.fencingToken, validUntilMs: askedMs + leaseMs };
      if (row !== undefined && row.expiresAtUs > database.nowUs && row.owner !== owner && row.owner !== '') return undefined;
      if (row !== undefined && row.owner !== owner && row.owner !== '') counts['lease-lost'] += 1;
      const fencingToken = (row?.fencingToken ?? 0n) + 1n;
      database.leases.set(laneId, { owner, fencingToken, expiresAtUs: this.#end });
      database.fences.set(laneId, fencingToken);
      this.#record(laneId, `acquire-${fencingToken}`, { type: 'LaneAcquired', ...partsOf(laneId), owner, fencingToken, acquiredAtNs: clock.nowNs() });
      return { laneId, fencingToken, validUntilMs: askedMs + leaseMs };
    });
  }

  renew(lease: Lease, owner: string): Promise<Lease | undefined> {
    const { database, leaseMs, mutation, clock } = this.parts;
    const askedMs = clock.monotonicMs();
    return this.#call(`renew ${lease.laneId}`, () => {
      const row = database.leases.get(lease.laneId);
      if (row === undefined || row.fencingToken !== lease.fencingToken) return undefined;
      if (row.owner !== owner && mutation !== 'leases-for-everybody') return undefined;
      database.leases.set(lease.laneId, { ...row, expiresAtUs: this.#end });
      return { ...lease, validUntilMs: askedMs + leaseMs };
    });
  }

  release(lease: Lease, owner: string): Promise<void> {
    const { database, clock } = this.parts;
    const { laneId, fencingToken } = lease;
    return this.#call(`release ${laneId}`, () => {
      const row = database.leases.get(laneId);
      if (row?.owner !== owner || row.fencingToken !== fencingToken) return;
      database.leases.set(laneId, { ...row, owner: '', expiresAtUs: database.nowUs });
      this.#record(laneId, `release-${fencingToken}`, { type: 'LaneReleased', ...partsOf(laneId), owner, fencingToken, releasedAtNs: clock.nowNs() });
    });
  }

  list(): Promise<readonly LeaseRow[]> {
    const { database } = this.parts;
    return this.#call('list', () =>
      [...database.leases].map(([laneId, row]) => ({
        laneId,
        owner: row.owner,
        fencingToken: row.fencingToken,
        expiresAtNs: (BigInt(GENESIS_MS) * 1_000_000n + BigInt(row.expiresAtUs) * 1_000n) as UnixNs,
        expired: row.expiresAtUs <= database.nowUs,
      })),
    );
  }

  present(owner: string): Promise<readonly string[]> {
    const { database } = this.parts;
    return this.#call('present', () => {
      database.replicas.set(owner, this.#end);
      return [...database.replicas].filter(([, endUs]) => endUs > database.nowUs).map(([name]) => name).sort();
    });
  }

  leave(owner: string): Promise<void> {
    return this.#call('leave', () => void this.parts.database.replicas.delete(owner));
  }

  /** On the lease table's clock. Microseconds. */
  get #end(): number {
    return this.parts.database.nowUs + this.parts.leaseMs * 1_000;
  }

  #record(laneId: string, commandId: string, event: LaneEvent): void {
    this.parts.database.appendMany([{ streamId: `lane-${laneId}`, expectedVersion: 'any', commandId, events: [relayerCodec.encode(event)] }]);
  }

  #call<T>(label: string, perform: () => T): Promise<T> {
    return this.parts.incarnation.call({
      label: `lease ${label}`,
      latencyMs: LEASE_CALL_MS,
      notDone: () => new OperationalError('DATABASE_UNREACHABLE', 'the lease table did not answer', 'not-done'),
      unknown: () => new OperationalError('LEASE_UNKNOWN', 'the lease table may have granted it', 'unknown'),
      perform,
    });
  }
}

/** A lane id is `<chain id>-<key address>`. */
function partsOf(laneId: string): { readonly chainId: string; readonly keyAddress: string } {
  const at = laneId.lastIndexOf('-');
  return { chainId: laneId.slice(0, at), keyAddress: laneId.slice(at + 1) };
}

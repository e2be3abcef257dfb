import { OperationalError } from '@settlement/kernel/errors';
import type { LaneLeases, Lease, LeaseRow } from '../src/ports/lane-leases';
import type { FaultCounts } from './faults';
import type { Incarnation } from './incarnation';
import type { Mutation } from './mutations';
import type { SimulatedDatabase } from './simulated-database';
import type { VirtualClock } from './virtual-clock';
import { GENESIS_MS } from './virtual-clock';

const LEASE_CALL_MS = 2;

/** `LaneLeases` on the database's own virtual clock. */
export class SimulatedLeases implements LaneLeases {
  constructor(
    private readonly parts: {
      readonly incarnation: Incarnation;
      readonly database: SimulatedDatabase;
      readonly clock: VirtualClock;
      readonly nowUs: () => number;
      readonly leaseMs: number;
      readonly counts: FaultCounts;
      readonly mutation: Mutation | undefined;
    },
  ) {}

  acquire(laneId: string, owner: string): Promise<Lease | undefined> {
    const { database, nowUs, leaseMs, counts } = this.parts;
    const askedMs = this.parts.clock.monotonicMs();
    return this.#call(`acquire ${laneId}`, () => {
      const row = database.leases.get(laneId);
      const runs = row !== undefined && row.expiresAtUs > nowUs();
      if (row !== undefined && this.parts.mutation === 'leases-for-everybody') return { laneId, fencingToken: row.fencingToken, validUntilMs: askedMs + leaseMs };
      if (row !== undefined && runs && row.owner !== owner) return undefined;
      if (row !== undefined && row.owner !== owner && row.owner !== '') counts['lease-lost'] += 1;
      const fencingToken = (row?.fencingToken ?? 0n) + 1n;
      database.leases.set(laneId, { owner, fencingToken, expiresAtUs: nowUs() + leaseMs * 1_000 });
      return { laneId, fencingToken, validUntilMs: askedMs + leaseMs };
    });
  }

  renew(lease: Lease, owner: string): Promise<Lease | undefined> {
    const { database, nowUs, leaseMs } = this.parts;
    const askedMs = this.parts.clock.monotonicMs();
    return this.#call(`renew ${lease.laneId}`, () => {
      const row = database.leases.get(lease.laneId);
      if (row === undefined || row.fencingToken !== lease.fencingToken) return undefined;
      if (row.owner !== owner && this.parts.mutation !== 'leases-for-everybody') return undefined;
      database.leases.set(lease.laneId, { ...row, expiresAtUs: nowUs() + leaseMs * 1_000 });
      return { ...lease, validUntilMs: askedMs + leaseMs };
    });
  }

  release(lease: Lease, owner: string): Promise<void> {
    const { database, nowUs } = this.parts;
    return this.#call(`release ${lease.laneId}`, () => {
      const row = database.leases.get(lease.laneId);
      if (row?.owner === owner && row.fencingToken === lease.fencingToken) database.leases.set(lease.laneId, { ...row, owner: '', expiresAtUs: nowUs() });
    });
  }

  list(): Promise<readonly LeaseRow[]> {
    const { database, nowUs } = this.parts;
    return this.#call('list', () =>
      [...database.leases].map(([laneId, row]) => ({
        laneId,
        owner: row.owner,
        fencingToken: row.fencingToken,
        expiresAtNs: BigInt(GENESIS_MS) * 1_000_000n + BigInt(row.expiresAtUs) * 1_000n,
        expired: row.expiresAtUs <= nowUs(),
      })),
    );
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

import type { EventStore, Transaction } from '@settlement/event-store/port';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import type { LaneLeases, Lease, LeaseRow } from '../ports/lane-leases';
import type { Replicas } from '../ports/replicas';
import { relayerCodec } from '../relayer.codec';
import type { LaneEvent } from '../relayer.events';
import { settleDoubts } from './intent-claims';
import { databaseOf, laneStreamOf, nameOf, partsOfLaneId, type LaneDatabases } from './lane-databases';

export interface PostgresLaneLeasesOptions {
  readonly store: EventStore;
  readonly databases: LaneDatabases;
  readonly clock: Clock;
  /** How long a lease runs after its last renewal. Milliseconds. */
  readonly leaseMs: number;
}

/** A lane's lease stands in the database of its stream, and ends by that database's clock; its fence stands in every one. */
export class PostgresLaneLeases implements LaneLeases, Replicas {
  constructor(private readonly options: PostgresLaneLeasesOptions) {}

  /**
   * Lease, fence and `LaneAcquired` in one durable transaction. Raising the fence waits for the old owner's append that is
   * under way and refuses every later one. The other databases' fences follow; the lane counts as held only with all of them.
   */
  async acquire(laneId: string, owner: string): Promise<Lease | undefined> {
    const { clock, leaseMs, databases } = this.options;
    const askedMs = clock.monotonicMs();
    const home = this.#homeOf(laneId);
    const fencingToken = await this.#transact(home, async (tx) => {
      const [row] = await tx.query<{ fencing_token: bigint | string }>(
        `INSERT INTO relayer.lane_lease AS it (lane_id, owner, fencing_token, expires_at)
         VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3::double precision / 1000))
         ON CONFLICT (lane_id) DO UPDATE SET owner = excluded.owner, fencing_token = it.fencing_token + 1,
           expires_at = clock_timestamp() + make_interval(secs => $3::double precision / 1000)
           WHERE it.owner IN ('', excluded.owner) OR it.expires_at <= clock_timestamp()
         RETURNING fencing_token`,
        [laneId, owner, leaseMs],
      );
      if (row === undefined) return undefined;
      const token = BigInt(row.fencing_token);
      await raiseFence(tx, laneId, token);
      await this.#record(tx, laneId, `acquire-${token}`, { type: 'LaneAcquired', ...partsOfLaneId(laneId), owner, fencingToken: token, acquiredAtNs: clock.nowNs() });
      return token;
    });
    if (fencingToken === undefined) return undefined;
    for (const database of databases) {
      if (nameOf(database) !== home) await this.#transact(nameOf(database), (tx) => raiseFence(tx, laneId, fencingToken));
    }
    await settleDoubts(this.options.store, databases, laneId);
    return { laneId, fencingToken, validUntilMs: askedMs + leaseMs };
  }

  async renew(lease: Lease, owner: string): Promise<Lease | undefined> {
    const { clock, leaseMs } = this.options;
    const askedMs = clock.monotonicMs();
    const rows = await this.#transact(this.#homeOf(lease.laneId), (tx) =>
      tx.query(
        `UPDATE relayer.lane_lease SET expires_at = clock_timestamp() + make_interval(secs => $4::double precision / 1000)
          WHERE lane_id = $1 AND owner = $2 AND fencing_token = $3 RETURNING lane_id`,
        [lease.laneId, owner, lease.fencingToken, leaseMs],
      ),
    );
    return rows.length === 0 ? undefined : { ...lease, validUntilMs: askedMs + leaseMs };
  }

  async release(lease: Lease, owner: string): Promise<void> {
    const { laneId, fencingToken } = lease;
    await this.#transact(this.#homeOf(laneId), async (tx) => {
      const rows = await tx.query(
        `UPDATE relayer.lane_lease SET owner = '', expires_at = clock_timestamp() WHERE lane_id = $1 AND owner = $2 AND fencing_token = $3 RETURNING lane_id`,
        [laneId, owner, fencingToken],
      );
      if (rows.length === 0) return;
      await this.#record(tx, laneId, `release-${fencingToken}`, { type: 'LaneReleased', ...partsOfLaneId(laneId), owner, fencingToken, releasedAtNs: this.options.clock.nowNs() });
    });
  }

  async list(): Promise<readonly LeaseRow[]> {
    const { store, databases } = this.options;
    const all = await Promise.all(
      databases.map((database) =>
        store.query<{ lane_id: string; owner: string; fencing_token: bigint; expires_us: bigint; expired: boolean }>(
          `SELECT lane_id, owner, fencing_token, (extract(epoch FROM expires_at) * 1000000)::bigint AS expires_us, expires_at <= clock_timestamp() AS expired FROM relayer.lane_lease`,
          [],
          nameOf(database),
        ),
      ),
    );
    return all.flat().map((row) => ({
      laneId: row.lane_id,
      owner: row.owner,
      fencingToken: BigInt(row.fencing_token),
      expiresAtNs: BigInt(row.expires_us) * 1_000n,
      expired: row.expired,
    }));
  }

  async present(owner: string): Promise<readonly string[]> {
    const rows = await this.#transact(this.#homeOf(''), async (tx) => {
      await tx.query(
        `INSERT INTO relayer.replica (owner, expires_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2::double precision / 1000))
         ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at`,
        [owner, this.options.leaseMs],
      );
      await tx.query(`DELETE FROM relayer.replica WHERE expires_at < clock_timestamp() - interval '1 day'`);
      return tx.query<{ owner: string }>('SELECT owner FROM relayer.replica WHERE expires_at > clock_timestamp() ORDER BY owner');
    });
    return rows.map((row) => row.owner);
  }

  async leave(owner: string): Promise<void> {
    await this.#transact(this.#homeOf(''), (tx) => tx.query('DELETE FROM relayer.replica WHERE owner = $1', [owner]));
  }

  #homeOf(laneId: string): number {
    const { store, databases } = this.options;
    return databaseOf(databases, store.partitionOf(laneStreamOf(laneId)));
  }

  async #record(tx: Transaction, laneId: string, commandId: string, event: LaneEvent): Promise<void> {
    await tx.append([{ streamId: laneStreamOf(laneId), expectedVersion: 'any', commandId, events: [relayerCodec.encode(event)] }]);
  }

  async #transact<T>(database: number, work: (tx: Transaction) => Promise<T>): Promise<T> {
    try {
      return await this.options.store.transact(database, work);
    } catch (error) {
      if (error instanceof OperationalError) throw error;
      throw new OperationalError('LEASES_UNAVAILABLE', 'the lease table did not answer', 'unknown', { cause: error });
    }
  }
}

async function raiseFence(tx: Transaction, laneId: string, fencingToken: bigint): Promise<void> {
  await tx.query(
    `INSERT INTO relayer.lane_fence AS it (lane_id, fencing_token) VALUES ($1, $2)
     ON CONFLICT (lane_id) DO UPDATE SET fencing_token = excluded.fencing_token WHERE it.fencing_token < excluded.fencing_token`,
    [laneId, fencingToken],
  );
}

import { PollPace } from '@settlement/kernel/poll-pace';
import type { Clock } from '@settlement/kernel/time';
import pg from 'pg';
import { connectionConfig, endWithin } from './connection';
import type { PartitionOwners, Tenure } from './ownership';

export interface PostgresOwnersOptions {
  /** The database that holds the consumers' watermarks. */
  readonly url: string;
  /** The service; processes of one service share out its partitions among each other. */
  readonly source: string;
  readonly clock: Clock;
  readonly log: { warn(facts: object, message: string): void };
  readonly tickMs?: number;
  /** A process that has not been heard of for so long loses what it owns to whoever asks. */
  readonly silentMsMax?: number;
}

export interface PostgresOwners extends PartitionOwners {
  /** Gives everything up and closes the connection. */
  close(): Promise<void>;
}

/**
 * How often claims are made and the own connection is heard of while processes come and go; with the connection's end, the longest
 * wait for a take-over.
 */
const TICK_MS = 400;
/** The same once nobody has come or gone for a while: each look reads the server's whole table of locks. */
const TICK_MS_QUIET = 1_000;
/**
 * Five ticks and more: a process that is busy for a moment keeps its claims. One that was stopped, or whose machine lost its
 * power, leaves its connection open in the server, and there it would stay until TCP gives up.
 */
const SILENT_MS_MAX = 5_000;
const ANSWER_MS_MAX = 3_000;

interface Claim {
  readonly name: string;
  readonly partition: number;
  readonly partitions: number;
  resolve(tenure: Tenure | undefined): void;
}

interface Held {
  readonly name: string;
  readonly partition: number;
  readonly partitions: number;
  readonly ending: AbortController;
}

/**
 * Claims are session-level advisory locks on one connection: they end with the process or with its connection, without a row to
 * expire and without a write to renew. Every tick the connection is used, so its last use in `pg_stat_activity` tells whether its
 * process still runs; the connection of one that has been silent is terminated by whoever notices, which a role may do to its own
 * sessions. How many processes share a name is the number of sessions that hold the name's lock in shared mode.
 */
export function postgresOwners(options: PostgresOwnersOptions): PostgresOwners {
  return new Owners(options);
}

class Owners implements PostgresOwners {
  private readonly claims = new Map<string, Claim>();
  private readonly held = new Map<string, Held>();
  private readonly joined = new Set<string>();
  private readonly closing = new AbortController();
  private client: pg.Client | undefined;
  private running: Promise<void> | undefined;
  private nudge: (() => void) | undefined;
  private heardAllAtMs = Number.NEGATIVE_INFINITY;
  private failing = false;
  private readonly pace: PollPace;
  /** Members of each name as they were last seen. */
  private seen = '';

  constructor(private readonly options: PostgresOwnersOptions) {
    const { tickMs } = options;
    this.pace = new PollPace({ briskMs: tickMs ?? TICK_MS, slowMs: tickMs ?? TICK_MS_QUIET });
  }

  own(name: string, partition: number, partitions: number, signal: AbortSignal): Promise<Tenure | undefined> {
    if (signal.aborted || this.closing.signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const id = idOf(name, partition);
      const withdraw = (): void => {
        this.claims.delete(id);
        resolve(undefined);
      };
      signal.addEventListener('abort', withdraw, { once: true });
      this.claims.set(id, {
        name,
        partition,
        partitions,
        resolve: (tenure) => {
          signal.removeEventListener('abort', withdraw);
          resolve(tenure);
        },
      });
      this.running ??= this.run();
      this.nudge?.();
    });
  }

  private async run(): Promise<void> {
    const { clock, log } = this.options;
    while (!this.closing.signal.aborted) {
      const nudged = new Promise<void>((resolve) => (this.nudge = resolve));
      try {
        await this.tick(await this.connected());
        this.failing = false;
      } catch (error) {
        if (!this.failing) log.warn({ err: error }, 'what this process owns could not be looked after: it lets go of all of it and tries again');
        this.failing = true;
        this.letGo();
      }
      const awake = new AbortController();
      // Claims that come together, as at a start, are made together.
      await Promise.race([this.failing ? new Promise<void>(() => undefined) : nudged, clock.sleep(this.pace.pauseMs(clock.monotonicMs()), AbortSignal.any([awake.signal, this.closing.signal])), aborted(this.closing.signal)]);
      awake.abort();
    }
  }

  private async tick(client: pg.Client): Promise<void> {
    const { clock, silentMsMax = SILENT_MS_MAX } = this.options;
    const names = [...new Set([...this.claims.values(), ...this.held.values()].map(({ name }) => name))];
    for (const name of names) {
      if (this.joined.has(name)) continue;
      await client.query('SELECT pg_try_advisory_lock_shared(hashtextextended($1, 0))', [memberKey(name)]);
      this.joined.add(name);
    }
    if (clock.monotonicMs() - this.heardAllAtMs > 1_000) {
      await endSilent(client, silentMsMax);
      this.heardAllAtMs = clock.monotonicMs();
    }
    const members = await membersOf(client, names);
    const seen = [...members].map(([name, count]) => `${name}=${count}`).join();
    if (seen !== this.seen) this.pace.news(clock.monotonicMs());
    this.seen = seen;
    for (const name of names) {
      const held = [...this.held].filter(([, it]) => it.name === name);
      const claims = [...this.claims].filter(([, it]) => it.name === name);
      const partitions = held[0]?.[1].partitions ?? claims[0]?.[1].partitions ?? 0;
      const share = Math.ceil(partitions / Math.max(1, members.get(name) ?? 1));
      // What is being handed over is still held until its batch has ended.
      const staying = held.filter(([, it]) => !it.ending.signal.aborted);
      for (const [, it] of staying.slice(share)) it.ending.abort();
      let room = share - staying.length;
      for (const [id, claim] of claims) {
        if (room <= 0) break;
        if (await this.tryClaim(client, id, claim)) room -= 1;
      }
    }
    for (const name of [...this.joined].filter((it) => !names.includes(it))) {
      await client.query('SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))', [memberKey(name)]);
      this.joined.delete(name);
    }
  }

  private async tryClaim(client: pg.Client, id: string, claim: Claim): Promise<boolean> {
    const { rows } = await client.query<{ got: boolean }>('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS got', [id]);
    if (rows[0]?.got !== true) return false;
    if (this.claims.get(id) !== claim || this.client !== client) {
      // Withdrawn meanwhile, or the connection went.
      if (this.client === client) await unlock(client, id);
      return false;
    }
    this.claims.delete(id);
    const held: Held = { name: claim.name, partition: claim.partition, partitions: claim.partitions, ending: new AbortController() };
    this.held.set(id, held);
    this.pace.news(this.options.clock.monotonicMs());
    claim.resolve({ ended: held.ending.signal, release: () => this.release(id, held) });
    return true;
  }

  private async release(id: string, held: Held): Promise<void> {
    if (this.held.get(id) !== held) return;
    this.held.delete(id);
    held.ending.abort();
    const { client } = this;
    if (client === undefined) return;
    try {
      await unlock(client, id);
    } catch {
      // A lock that cannot be given back goes with its connection, and the others with it.
      this.letGo();
    }
  }

  private async connected(): Promise<pg.Client> {
    if (this.client !== undefined) return this.client;
    const client = new pg.Client({
      ...connectionConfig(this.options.url, `settlement-${this.options.source}-owner`),
      query_timeout: ANSWER_MS_MAX,
    });
    const gone = (): void => {
      if (this.client === client) this.letGo();
    };
    client.on('error', gone);
    client.on('end', gone);
    await client.connect();
    this.client = client;
    return client;
  }

  /** Everything that is owned ends: without the connection nothing is. */
  private letGo(): void {
    const { client } = this;
    this.client = undefined;
    this.joined.clear();
    for (const held of this.held.values()) held.ending.abort();
    this.held.clear();
    if (client !== undefined) void endWithin(client, this.options.clock);
  }

  async close(): Promise<void> {
    this.closing.abort();
    for (const claim of this.claims.values()) claim.resolve(undefined);
    this.claims.clear();
    await this.running;
    this.letGo();
  }
}

function idOf(name: string, partition: number): string {
  return `own:${name}:${partition}`;
}

function memberKey(name: string): string {
  return `own:${name}`;
}

async function unlock(client: pg.Client, id: string): Promise<void> {
  await client.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [id]);
}

/** How many sessions are members of each name. A lock of one 64-bit key stands in `pg_locks` in two halves, objsubid 1. */
async function membersOf(client: pg.Client, names: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { rows } = await client.query<{ name: string; members: number }>(
    `SELECT n.name, (SELECT count(*)::integer FROM pg_locks l
                      WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ShareLock'
                        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('own:' || n.name, 0)) AS members
       FROM unnest($1::text[]) AS n (name)`,
    [names],
  );
  return new Map(rows.map(({ name, members }) => [name, members]));
}

/** Ends sessions of the same kind and role that have not been used for so long. */
async function endSilent(client: pg.Client, silentMs: number): Promise<void> {
  await client.query(
    `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
      WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
        AND a.application_name = current_setting('application_name')
        AND a.state = 'idle' AND a.state_change < clock_timestamp() - make_interval(secs => $1::double precision / 1000)`,
    [silentMs],
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

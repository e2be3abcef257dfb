import type { Clock } from '@settlement/kernel/time';
import pg from 'pg';
import { cut } from './connection';

/** In use for so long, a connection is worth a question. Most statements take milliseconds; a COMMIT may wait for its standby. */
const SILENT_MS = 4_000;
const LOOK_MS = 1_000;
const ANSWER_MS_MAX = 3_000;

type Connection = pg.Client | pg.PoolClient;

/**
 * Finds connections whose server is gone without a word. When a machine loses its power nobody closes its connections, and a
 * statement on one of them, a COMMIT too, waits until TCP gives up, a quarter of an hour; meanwhile the address may lead to a new
 * primary. A time-out cannot tell that from a COMMIT that rightly waits for its standby, so the server is asked: over a new
 * connection, whether it is the same server and still has that backend. Only when it says no is the old connection cut. What was
 * in hand is then *unknown* if COMMIT had been sent, and not done otherwise, as with any connection that breaks.
 */
export class LostServerWatch {
  private readonly servers = new WeakMap<Connection, string>();
  private readonly inUse = new Map<Connection, number>();
  private readonly closing = new AbortController();
  private looking: Promise<void> | undefined;

  constructor(
    private readonly config: pg.ClientConfig,
    private readonly clock: Clock,
  ) {}

  watchPool(pool: pg.Pool): void {
    pool.on('connect', (client) => this.opened(client));
    pool.on('acquire', (client) => this.begun(client));
    pool.on('release', (_error, client) => this.ended(client));
  }

  /** Notes which server it is. */
  opened(client: Connection): void {
    client.query<{ server: string }>(SERVER).then(
      ({ rows }) => this.servers.set(client, rows[0]?.server ?? ''),
      // It broke at once, which the next statement reports.
      () => this.servers.delete(client),
    );
  }

  begun(client: Connection): void {
    this.inUse.set(client, this.clock.monotonicMs());
    this.looking ??= this.look();
  }

  ended(client: Connection): void {
    this.inUse.delete(client);
  }

  private async look(): Promise<void> {
    while (this.inUse.size > 0 && !this.closing.signal.aborted) {
      await this.clock.sleep(LOOK_MS, this.closing.signal);
      const sinceMs = this.clock.monotonicMs() - SILENT_MS;
      const silent = [...this.inUse].filter(([, startedMs]) => startedMs <= sinceMs).map(([client]) => client);
      if (silent.length > 0) for (const client of await this.lost(silent)) cut(client);
    }
    this.looking = undefined;
  }

  /** Those whose backend does not exist any more. A server that does not answer proves nothing. */
  private async lost(clients: readonly Connection[]): Promise<readonly Connection[]> {
    const probe = new pg.Client({ ...this.config, pipeline: false, connectionTimeoutMillis: ANSWER_MS_MAX, query_timeout: ANSWER_MS_MAX });
    probe.on('error', () => undefined);
    try {
      await probe.connect();
      const { rows } = await probe.query<{ server: string; backends: readonly number[] }>(`SELECT (${SERVER}) AS server, (SELECT array_agg(pid) FROM pg_stat_activity WHERE usename = current_user) AS backends`);
      const [found] = rows;
      if (found === undefined) return [];
      return clients.filter((client) => {
        const server = this.servers.get(client);
        // Unknown: not even that first, simple question was answered, in a time in which the server has let in the connection that asks here.
        return this.inUse.has(client) && (server === undefined || server !== found.server || !found.backends.includes(backendOf(client)));
      });
    } catch {
      // Nobody answers at that address: whoever opens a new connection hears so; asked again in a moment.
      return [];
    } finally {
      probe.end().catch(() => 'it was never open');
    }
  }

  close(): void {
    this.closing.abort();
  }
}

/** Differs between any two servers, also between two lives of one. */
const SERVER = 'SELECT pg_postmaster_start_time()::text AS server';

function backendOf(client: Connection): number {
  // Known to pg since the start of the connection; not in its types.
  const { processID } = client as unknown as { readonly processID: number | null };
  return processID ?? 0;
}

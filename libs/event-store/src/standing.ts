import pg from 'pg';
import { connectionConfig } from './connection';
import { sqlState } from './errors';

/** Whether a database takes this process's appends now. */
export type Standing = { readonly ok: true } | { readonly ok: false; readonly why: string };

/** Less than a readiness check may take, so that its reason is heard. Milliseconds. */
const ANSWER_MS_MAX = 1_200;

/**
 * Looks at the databases of a log over connections of its own, one each, so that neither a pool in use up to its limit nor commits
 * that hang are mistaken for a database that is away. A look costs one row.
 */
export class LogStanding {
  private readonly databases: readonly { readonly name: string; readonly pool: pg.Pool }[];

  constructor(
    urls: readonly string[],
    source: string,
    /** What this process holds. */
    private readonly epoch: bigint,
  ) {
    this.databases = [...new Set(urls)].map((url) => {
      const pool = new pg.Pool({
        ...connectionConfig(url, `settlement-${source}-standing`),
        pipeline: false,
        max: 1,
        connectionTimeoutMillis: ANSWER_MS_MAX,
        // A look that is given up leaves nothing behind: it only reads, and its connection goes with it.
        query_timeout: ANSWER_MS_MAX,
      });
      pool.on('error', () => undefined);
      return { name: nameOf(url), pool };
    });
  }

  async look(): Promise<{ readonly database: Standing; readonly epoch: Standing }> {
    const all = await Promise.all(this.databases.map((database) => this.lookAt(database)));
    return { database: first(all.map((it) => it.database)), epoch: first(all.map((it) => it.epoch)) };
  }

  private async lookAt({ name, pool }: { readonly name: string; readonly pool: pg.Pool }): Promise<{ database: Standing; epoch: Standing }> {
    const unknown: Standing = { ok: false, why: 'the epoch could not be read from the database' };
    try {
      const { rows } = await pool.query<{ standby: boolean; read_only: string; low: bigint | null; high: bigint | null }>(
        `SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') AS read_only,
                (SELECT min(epoch) FROM event_store.partition) AS low, (SELECT max(epoch) FROM event_store.partition) AS high`,
      );
      const [row] = rows;
      if (row === undefined) return { database: { ok: false, why: `${name} answered nothing` }, epoch: unknown };
      const readOnly = row.standby || row.read_only === 'on';
      return {
        database: readOnly ? { ok: false, why: `${name} is ${row.standby ? 'a standby' : 'read-only'}: it takes no writes; the address must lead to the primary` } : { ok: true },
        epoch: this.epochStanding(row.low, row.high),
      };
    } catch (error) {
      if (sqlState(error) === '42P01' || sqlState(error) === '3F000') return { database: { ok: false, why: `${name} has no schema: run the migration job` }, epoch: unknown };
      return { database: { ok: false, why: `${name} cannot be reached: ${messageOf(error)}` }, epoch: unknown };
    }
  }

  private epochStanding(low: bigint | null, high: bigint | null): Standing {
    if (low === null || high === null) return { ok: false, why: 'the log has no partitions here' };
    if (high > this.epoch) return { ok: false, why: `epoch ${high} is held by another region: this process has epoch ${this.epoch} and can change nothing` };
    if (low < this.epoch) return { ok: false, why: `epoch ${this.epoch} is not taken yet: the log stands at epoch ${low}` };
    return { ok: true };
  }

  async close(): Promise<void> {
    await Promise.all(this.databases.map(({ pool }) => pool.end()));
  }
}

function first(standings: readonly Standing[]): Standing {
  return standings.find(({ ok }) => !ok) ?? { ok: true };
}

/** Host and database, never user or password. */
function nameOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `database ${pathname.slice(1)} at ${host}`;
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}

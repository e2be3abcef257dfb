import type { Clock } from '@settlement/kernel/time';
import pg from 'pg';

/** int8 as bigint: positions, versions and money do not fit a double. numeric stays text; callers parse it. */
const types: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (format !== 'binary') {
      if (oid === pg.types.builtins.INT8) return (text: string) => BigInt(text);
      if (oid === INT8_ARRAY) return (text: string) => (text === '{}' ? [] : text.slice(1, -1).split(',').map((item) => (item === 'NULL' ? null : BigInt(item))));
    }
    return pg.types.getTypeParser(oid, format ?? 'text');
  },
};

const INT8_ARRAY = 1016;

/**
 * Tells the server to notice within some ten seconds that this client is gone without a word, as when its machine loses power: its
 * locks, transactions and advisory locks end then. Without these the server would wait for two hours. `client_connection_check_interval`
 * looks during a statement, such as one that waits for a lock; a COMMIT that waits for its standby is not cut by it.
 */
const NOTICE_A_LOST_CLIENT = { tcp_keepalives_idle: '5', tcp_keepalives_interval: '2', tcp_keepalives_count: '3', tcp_user_timeout: '10000', client_connection_check_interval: '5000' };

/**
 * No statement timeout: it would not interrupt a commit wait anyway, and must never cut a COMMIT. Keep-alive finds a dead
 * host; a slow one is waited for, because a connection that is given up leaves its backend behind in the server.
 */
export function connectionConfig(url: string, applicationName: string, sessionSettings: Readonly<Record<string, string>> = {}): pg.ClientConfig {
  const settings = { synchronous_commit: 'on', statement_timeout: '0', ...NOTICE_A_LOST_CLIENT, ...sessionSettings };
  return {
    connectionString: url,
    application_name: applicationName,
    options: Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`).join(' '),
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    // Then once a second, ten times (libuv): a dead server is noticed on an idle connection after 15 s.
    keepAliveInitialDelayMillis: 5_000,
    types,
    pipeline: true,
  };
}

/**
 * How long a pool keeps a connection that nobody uses: a new one costs a name to be resolved, a TLS handshake and a backend, and
 * would be made again and again with traffic that comes every ten seconds, the library's own limit.
 */
export const POOL_IDLE_MS = 120_000;

/** As `connectionConfig`, with `pg`'s own reading of values: int8 as text. For read models. */
export function plainConnectionConfig(url: string, applicationName: string): pg.ClientConfig {
  const { types: _bigints, ...config } = connectionConfig(url, applicationName);
  return config;
}

/**
 * Notices that turn a successful COMMIT into an unknown outcome. Postgres reports a cancelled or terminated wait for its
 * synchronous standby as a WARNING of class 01000 or 57P01, after which COMMIT succeeds all the same
 * (src/backend/replication/syncrep.c, SyncRepWaitForLSN). The texts are translated, the codes are not.
 */
export function isUnreplicatedNotice(notice: { readonly code?: string | undefined }): boolean {
  return notice.code === '01000' || notice.code === '57P01';
}

/** Ends a client; one whose commit hangs would wait for it for ever, so its socket is closed. */
export async function endWithin(client: pg.Client, clock: Clock): Promise<void> {
  const abort = new AbortController();
  const ended = client.end().then(() => true);
  const late = clock.sleep(500, abort.signal).then(() => false);
  if (!(await Promise.race([ended, late]))) {
    cut(client);
  }
  abort.abort();
}

/** Closes the socket at once: for a server that answers nothing any more. Statements in hand are rejected, and the client ends. */
export function cut(client: pg.Client | pg.PoolClient): void {
  // Not in pg's types: the only handle on such a connection.
  const { connection } = client as unknown as { readonly connection: { readonly stream: { destroy(): void } } };
  connection.stream.destroy();
}

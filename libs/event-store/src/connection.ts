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
 * No statement timeout: it would not interrupt a commit wait anyway, and must never cut a COMMIT. Keep-alive finds a dead
 * host; a slow one is waited for, because a connection that is given up leaves its backend behind in the server.
 */
export function connectionConfig(url: string, applicationName: string, sessionSettings: Readonly<Record<string, string>> = {}): pg.ClientConfig {
  const settings = { synchronous_commit: 'on', statement_timeout: '0', ...sessionSettings };
  return {
    connectionString: url,
    application_name: applicationName,
    options: Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`).join(' '),
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types,
    pipeline: true,
  };
}

/**
 * Notices that turn a successful COMMIT into an unknown outcome. Postgres reports a cancelled or terminated wait for its
 * synchronous standby as a WARNING of class 01000 or 57P01, after which COMMIT succeeds all the same
 * (src/backend/replication/syncrep.c, SyncRepWaitForLSN). The texts are translated, the codes are not.
 */
export function isUnreplicatedNotice(notice: { readonly code?: string | undefined }): boolean {
  return notice.code === '01000' || notice.code === '57P01';
}

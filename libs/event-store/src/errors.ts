import { OperationalError } from '@settlement/kernel/errors';

/**
 * COMMIT was sent and its outcome is not known: the connection broke, the wait for replicas was cancelled, or the caller's
 * patience ended first. Repeat the append with the same command id; never take it as done and never as not done.
 */
export class AppendOutcomeUnknown extends OperationalError {
  override readonly name = 'AppendOutcomeUnknown';

  constructor(reason: string, options?: { readonly cause?: unknown }) {
    super('APPEND_OUTCOME_UNKNOWN', `the append may or may not have been committed: ${reason}`, 'unknown', options);
  }
}

/** This region's epoch is over: another region writes now. Nothing was written, and nothing will be until a restart with a new epoch. */
export class StaleEpoch extends OperationalError {
  override readonly name = 'StaleEpoch';

  constructor(
    readonly ownEpoch: bigint,
    readonly storedEpoch: bigint,
  ) {
    super('STALE_EPOCH', `this process holds epoch ${ownEpoch}, the log stands at epoch ${storedEpoch}`, 'not-done');
  }
}

/** Events are missing between the consumer's watermark and what was delivered. Nothing was applied; read again from the watermark. */
export class FeedGap extends OperationalError {
  override readonly name = 'FeedGap';

  constructor(
    readonly consumer: string,
    readonly feedSource: string,
    readonly partition: number,
    readonly watermark: bigint,
    readonly firstDelivered: bigint,
  ) {
    super('FEED_GAP', `${consumer} stands at ${feedSource}/${partition}@${watermark} and was handed position ${firstDelivered}`, 'not-done');
  }
}

/** SQLSTATE of an error that Postgres reported, undefined for anything else such as a broken socket. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return undefined;
  return typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}

/** 25006: the server was demoted to a standby, or never was the primary. Its connections are of no further use to a writer. */
export function isDemoted(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) if (sqlState(at) === '25006') return true;
  return false;
}

/** An append or transaction that certainly left nothing behind. */
export function notDone(code: string, message: string, cause?: unknown): OperationalError {
  return new OperationalError(code, cause instanceof Error ? `${message}: ${cause.message}` : message, 'not-done', { cause });
}

/** Class 53 of SQLSTATE: what a database lacks, and what to do about it. Nothing here ends by trying harder. */
const EXHAUSTED: Readonly<Record<string, { readonly code: string; readonly means: string }>> = {
  '53100': { code: 'DATABASE_FULL', means: 'the disk of the database is full; free or add space there, appends then go on by themselves' },
  '53200': { code: 'DATABASE_OUT_OF_MEMORY', means: 'the database has no memory left; give it more or lower what its sessions may use' },
  '53300': { code: 'DATABASE_CONNECTIONS_EXHAUSTED', means: 'the database takes no further connection; raise max_connections or end idle clients' },
};

/** The database lacks something, so the statement left nothing behind. Undefined for every other error. */
export function exhausted(error: unknown): OperationalError | undefined {
  const state = sqlState(error);
  if (state?.startsWith('53') !== true) return undefined;
  const { code, means } = EXHAUSTED[state] ?? { code: 'DATABASE_EXHAUSTED', means: 'the database has reached a limit' };
  return notDone(code, means, error);
}

/** The connection ended after COMMIT was sent. A full disk is named: Postgres cannot go on without space for its WAL and restarts. */
export function commitLost(cause: unknown): AppendOutcomeUnknown {
  const why = sqlState(cause) === '53100' && cause instanceof Error ? `the disk of the database is full (${cause.message}); free or add space there, then repeat` : 'the connection was lost during COMMIT';
  return new AppendOutcomeUnknown(why, { cause });
}

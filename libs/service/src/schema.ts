import { InvalidInput, InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import { singleDatabase } from '@settlement/event-store/postgres-event-store';
import { sqlState } from '@settlement/event-store/errors';
import { applyMigrations, holdsLog, migrateEventStore, missingMigrations, type HeldLog, type Migration } from '@settlement/event-store/migrate';
import { FEED_MIGRATIONS } from '@settlement/feed/migrate-feed';
import type { MigrationConfig } from '@settlement/config/service-config';

/** One history of tables beside the event store's and the feed's. */
export interface SchemaPart {
  /** Names the history in `event_store.migration`; never changes. */
  readonly component: string;
  readonly migrations: readonly Migration[];
  /** In each database of the partition map, not in the service's own alone. */
  readonly everywhere?: boolean;
}

export type SchemaTarget = Pick<MigrationConfig, 'DATABASE_URL' | 'PARTITIONS' | 'PARTITION_MAP' | 'EPOCH'>;

export interface AppliedStep {
  readonly component: string;
  readonly version: number;
  readonly name: string;
}

interface Part {
  readonly url: string;
  readonly component: string;
  readonly migrations: readonly Migration[];
  /** The event store's part also holds which log the database is. */
  readonly log?: HeldLog;
}

/** In the order in which they are applied: later parts build on earlier ones. */
function partsOf(source: string, target: SchemaTarget, own: readonly SchemaPart[]): readonly Part[] {
  const map = target.PARTITION_MAP ?? singleDatabase(target.DATABASE_URL, target.PARTITIONS);
  const partitions = map.flatMap((entry) => entry.partitions).length;
  const everywhere = [...new Set([target.DATABASE_URL, ...map.map(({ url }) => url)])];
  return [
    ...map.map(({ url, partitions: held }) => ({ url, component: 'event-store', migrations: [], log: { source, partitions, held, epoch: target.EPOCH } })),
    { url: target.DATABASE_URL, component: 'feed', migrations: FEED_MIGRATIONS },
    ...own.flatMap(({ component, migrations, everywhere: each }) => (each === true ? everywhere : [target.DATABASE_URL]).map((url) => ({ url, component, migrations }))),
  ];
}

/**
 * Brings all tables of a service up to date; safe to call again and from several processes at once. Answers what was done just
 * now. Throws `OperationalError` `not-done` when a database refuses or is away, `InvariantViolated` when it holds another log or
 * another history than the configuration says.
 */
export async function applySchema(source: string, target: SchemaTarget, own: readonly SchemaPart[]): Promise<readonly AppliedStep[]> {
  const applied: AppliedStep[] = [];
  for (const { url, component, migrations, log } of partsOf(source, target, own)) {
    const steps = log === undefined ? await applyMigrations(url, component, migrations) : await migrateEventStore(url, log);
    applied.push(...steps.map(({ version, name }) => ({ component, version, name })));
  }
  return applied;
}

/** Components whose tables lack a step that this release needs; none when it may start. Writes nothing. Throws as `applySchema`. */
export async function outdatedComponents(source: string, target: SchemaTarget, own: readonly SchemaPart[]): Promise<readonly string[]> {
  const outdated = new Set<string>();
  for (const { url, component, migrations, log } of partsOf(source, target, own)) {
    const ready = log === undefined ? (await missingMigrations(url, component, migrations)).length === 0 : await holdsLog(url, log);
    if (!ready) outdated.add(component);
  }
  return [...outdated];
}

/**
 * SQLSTATE classes that pass by themselves or by somebody else's work: connection, roles and databases that an operator is still
 * making, transaction rollback, resources, locks, a server that starts, stops or is a standby (25006).
 */
const PASSING_SQLSTATES = /^(08|25006|28|3D|40|53|55|57|58)/;

/** Whether trying again may help: a database that is away or not made yet, as opposed to one that will never fit. */
export function passes(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof InvalidInput || at instanceof InvariantViolated) return false;
    const state = sqlState(at);
    if (state !== undefined) return PASSING_SQLSTATES.test(state);
    // What Node itself says of a socket or a certificate.
    if ('code' in at && typeof at.code === 'string' && !(at instanceof OperationalError)) return true;
  }
  // pg gives no code to a connection that broke or was too slow.
  return error instanceof OperationalError;
}

/** For a person: the innermost reason, which names host, role or table. */
export function reasonOf(error: unknown): string {
  let reason = String(error);
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof AggregateError && at.message === '') reason = at.errors.map((each) => reasonOf(each)).join('; ');
    else if (at.message !== '') reason = at.message;
  }
  return reason;
}

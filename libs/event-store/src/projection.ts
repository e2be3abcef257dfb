import type { Clock } from '@settlement/kernel/time';
import { InvariantViolated } from '@settlement/kernel/errors';
import { advance, readWatermark } from './consumer';
import type { RecordedEvent } from './event';
import type { PartitionOwners } from './ownership';
import type { EventStore, Transaction } from './port';
import { runOwnConsumer, type RunningConsumer } from './runner';

/** A read model that is a pure function of the log. */
export interface Projection {
  /** Lower case and underscores; with the version it names the schema that holds the tables. */
  readonly name: string;
  /** Raised with every change of tables or of `apply`; the new version is then built beside the live one. */
  readonly version: number;
  /** The tables' names, as readers know them. */
  readonly tables: readonly string[];
  /** CREATE TABLE and CREATE INDEX statements with unqualified names; they land in the version's own schema. */
  readonly ddl: string;
  /** Applies consecutive events of one partition. Unqualified table names mean the version's own tables. */
  apply(tx: Transaction, events: readonly RecordedEvent[]): Promise<void>;
}

export interface ProjectionOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly projection: Projection;
  readonly batchSizeMax?: number;
  /** With several processes: who works on which partition. */
  readonly owners?: PartitionOwners;
  onLag?(partition: number, lagEvents: bigint): void;
  onError?(partition: number, error: unknown, retryInMs: number): void;
}

export interface RunningProjection extends RunningConsumer {
  /** Resolves once readers see this version: at once where none was live before, else after it has caught up and was swapped in. */
  live(): Promise<void>;
}

/**
 * Readers use views in `public` that point at the tables of the live version, in a schema `<name>_v<version>_<generation>`.
 * A version that is being built fills its own schema from position 0; the swap replaces the views in one transaction, so a
 * reader sees the old or the new read model, never a mixture and never an empty one.
 */
interface Build {
  readonly schema: string;
  readonly consumer: string;
}

const CATALOGUE = `CREATE TABLE IF NOT EXISTS event_store.projection_build (
  name text NOT NULL, version integer NOT NULL, generation integer NOT NULL,
  state text NOT NULL CHECK (state IN ('building', 'live', 'retired')),
  PRIMARY KEY (name, version, generation))`;

/** Brings the projection to its version and keeps it up to date until stopped. */
export async function runProjection(options: ProjectionOptions): Promise<RunningProjection> {
  const { store, projection } = options;
  const build = await currentBuild(store, projection);
  const consumer = follow(options, build);
  let stopped = false;
  const live = swapWhenCaughtUp(options, build, consumer, () => stopped);
  // Whoever does not await `live` must not be brought down by it; the failure also reaches `onError`.
  live.catch((error: unknown) => options.onError?.(0, error, 0));
  return {
    caughtUp: () => consumer.caughtUp(),
    live: () => live,
    async stop() {
      stopped = true;
      await consumer.stop();
    },
  };
}

/**
 * Builds the same version once more from the first event, beside the live one, and swaps it in. For a read model that is
 * suspected; a changed one gets a new version instead. The projection must not be running in this process meanwhile: start it
 * again afterwards, and it follows the new build.
 */
export async function rebuildProjection(options: ProjectionOptions): Promise<void> {
  const { store, projection } = options;
  assertName(projection);
  const build = await store.transact(0, async (tx) => {
    await lockCatalogue(tx, projection);
    const [row] = await tx.query<{ next: number }>('SELECT coalesce(max(generation), 0) + 1 AS next FROM event_store.projection_build WHERE name = $1 AND version = $2', [projection.name, projection.version]);
    return createBuild(tx, projection, row?.next ?? 1, 'building');
  });
  const consumer = follow(options, build);
  try {
    await swapWhenCaughtUp(options, build, consumer, () => false);
  } finally {
    await consumer.stop();
  }
}

function buildOf(projection: Projection, generation: number): Build {
  return { schema: `${projection.name}_v${projection.version}_${generation}`, consumer: `projection:${projection.name}@${projection.version}.${generation}` };
}

function assertName({ name, version, tables }: Projection): void {
  // Names go into DDL, where no parameter can stand.
  const plain = [name, ...tables].every((text) => /^[a-z][a-z0-9_]{0,40}$/.test(text));
  if (!plain || !Number.isInteger(version) || version < 1) throw new InvariantViolated('PROJECTION_NAME', 'names are lower case with underscores, versions count from 1', { name, version, tables });
}

async function lockCatalogue(tx: Transaction, { name }: Projection): Promise<void> {
  // Instances that start together create the build once.
  await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`projection:${name}`]);
  await tx.query(CATALOGUE);
}

async function currentBuild(store: EventStore, projection: Projection): Promise<Build> {
  assertName(projection);
  return store.transact(0, async (tx) => {
    await lockCatalogue(tx, projection);
    const rows = await tx.query<{ version: number; generation: number; state: string }>("SELECT version, generation, state FROM event_store.projection_build WHERE name = $1 AND state <> 'retired' ORDER BY version, generation", [projection.name]);
    const live = rows.find((row) => row.state === 'live');
    if (live !== undefined && live.version > projection.version) {
      throw new InvariantViolated('PROJECTION_OUTDATED', 'a newer version of this projection is live', { name: projection.name, live: live.version, own: projection.version });
    }
    const own = rows.findLast((row) => row.version === projection.version && (row.state === 'live' || live?.version !== projection.version));
    if (own !== undefined) return buildOf(projection, own.generation);
    // The very first version goes live empty: a view must exist before the first reader asks.
    const build = await createBuild(tx, projection, 1, live === undefined ? 'live' : 'building');
    if (live === undefined) await pointViews(tx, projection, build);
    return build;
  });
}

async function createBuild(tx: Transaction, projection: Projection, generation: number, state: 'building' | 'live'): Promise<Build> {
  const build = buildOf(projection, generation);
  await tx.query(`CREATE SCHEMA ${build.schema}`);
  await tx.query(`SET LOCAL search_path TO ${build.schema}, public`);
  await tx.query(projection.ddl);
  await tx.query('SET LOCAL search_path TO DEFAULT');
  await tx.query('INSERT INTO event_store.projection_build VALUES ($1, $2, $3, $4)', [projection.name, projection.version, generation, state]);
  return build;
}

async function pointViews(tx: Transaction, projection: Projection, build: Build): Promise<void> {
  for (const table of projection.tables) {
    // Not CREATE OR REPLACE: a new version may have other columns.
    await tx.query(`DROP VIEW IF EXISTS public.${table}`);
    await tx.query(`CREATE VIEW public.${table} AS SELECT * FROM ${build.schema}.${table}`);
  }
}

function follow(options: ProjectionOptions, build: Build): RunningConsumer {
  const { store, projection } = options;
  return runOwnConsumer({
    ...options,
    consumer: build.consumer,
    async handle(partition, events) {
      await advance({
        store,
        consumer: build.consumer,
        source: store.source,
        partition,
        events,
        async effect(tx, fresh) {
          await tx.query(`SET LOCAL search_path TO ${build.schema}, public`);
          await projection.apply(tx, fresh);
        },
      });
    },
  });
}

/** Catches up, then swaps; with writers at work it goes round until what is missing is no more than a moment's events. */
async function swapWhenCaughtUp(options: ProjectionOptions, build: Build, consumer: RunningConsumer, stopped: () => boolean): Promise<void> {
  const { store, projection } = options;
  await consumer.caughtUp();
  if (stopped()) return;
  const swap = (): Promise<readonly string[]> =>
    store.transact(0, async (tx) => {
      await lockCatalogue(tx, projection);
      const generation = Number(build.schema.slice(build.schema.lastIndexOf('_') + 1));
      const own = [projection.name, projection.version, generation];
      const [row] = await tx.query<{ state: string }>('SELECT state FROM event_store.projection_build WHERE name = $1 AND version = $2 AND generation = $3', own);
      if (row?.state !== 'building') return [];
      const retired = await tx.query<{ schema: string }>("UPDATE event_store.projection_build SET state = 'retired' WHERE name = $1 AND state = 'live' RETURNING name || '_v' || version || '_' || generation AS schema", [projection.name]);
      await tx.query("UPDATE event_store.projection_build SET state = 'live' WHERE name = $1 AND version = $2 AND generation = $3", own);
      await pointViews(tx, projection, build);
      return retired.map(({ schema }) => schema);
    });
  const retired = await swap();
  // In a transaction of its own: dropping waits for whoever still writes the old build, which must not hold up the swap.
  for (const schema of retired) await store.transact(0, (tx) => tx.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`));
}

/** How far the live build has come in one partition: for reads that must not be older than a write of their caller. */
export async function projectionPosition(store: EventStore, projection: Projection, partition: number): Promise<bigint> {
  const [row] = await store.query<{ version: number; generation: number }>("SELECT version, generation FROM event_store.projection_build WHERE name = $1 AND state = 'live'", [projection.name]);
  if (row === undefined) return 0n;
  return readWatermark({ store, consumer: buildOf({ ...projection, version: row.version }, row.generation).consumer, source: store.source, partition });
}

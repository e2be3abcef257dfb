import type pg from 'pg';
import { invariant } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { StaleEpoch, notDone } from './errors';
import { eventColumns, INSERT_EVENTS } from './event-rows';
import { byteaArray, numberArray, textArray } from './pg-arrays';
import type { Append } from './port';
import { commandKey, resolveAppends, type AppendContext, type CommittedCommand, type LogState, type PartitionHead, type ResolvedAppends } from './resolve-appends';

/** Who writes: fixed for the life of an open store. */
export interface WriterIdentity {
  readonly source: string;
  readonly region: string;
  readonly epoch: bigint;
  readonly clock: Clock;
  partitionOf(streamId: string): number;
}

const LOCK_AND_LOOK = { name: 'event_store_lock_and_look', text: 'SELECT * FROM event_store.lock_and_look($1, $2, $3, $4)' };

const WRITE_HEADS = {
  name: 'event_store_write_heads',
  text: `UPDATE event_store.partition p SET head = v.head, last_hash = v.hash
    FROM unnest($1::integer[], $2::bigint[], $3::bytea[]) v (id, head, hash) WHERE p.id = v.id AND p.epoch = $4`,
};

interface LookRow {
  readonly heads: readonly bigint[] | null;
  readonly epochs: readonly bigint[] | null;
  readonly hashes: readonly Uint8Array[] | null;
  readonly versions: readonly bigint[] | null;
  readonly command_indexes: readonly number[] | null;
  readonly command_versions: readonly bigint[] | null;
  readonly command_positions: readonly bigint[] | null;
}

type Queryable = Pick<pg.ClientBase, 'query'>;

/**
 * Locks the appends' partitions until the transaction ends, checks the epoch and decides the appends. Writes nothing yet.
 * The lock is what makes positions dense and in commit order: the next append cannot even read the head before this one has
 * committed, and with a synchronous standby that includes the wait for it.
 */
export async function lockAndResolve(client: Queryable, writer: WriterIdentity, appends: readonly Append[]): Promise<ResolvedAppends> {
  const partitions = [...new Set(appends.map((a) => writer.partitionOf(a.streamId)))].sort((a, b) => a - b);
  const streams = [...new Set(appends.map((a) => a.streamId))];
  const { rows } = await client.query<LookRow>({
    ...LOCK_AND_LOOK,
    values: [numberArray(partitions), textArray(streams), textArray(appends.map((a) => a.streamId)), textArray(appends.map((a) => a.commandId))],
  });
  return resolveAppends(logState(rows[0], writer, partitions, streams, appends), appends, contextOf(writer));
}

function contextOf(writer: WriterIdentity): AppendContext {
  const { source, region, epoch, clock } = writer;
  return { source, region, epoch, recordedAtNs: clock.nowNs(), partitionOf: (streamId) => writer.partitionOf(streamId) };
}

function logState(look: LookRow | undefined, writer: WriterIdentity, partitions: readonly number[], streams: readonly string[], appends: readonly Append[]): LogState {
  const heads = new Map<number, PartitionHead>();
  partitions.forEach((partition, i) => {
    const head = look?.heads?.[i];
    const hash = look?.hashes?.[i];
    const epoch = look?.epochs?.[i];
    invariant(head !== undefined && hash !== undefined && epoch !== undefined, 'PARTITION_MISSING', 'the database does not hold a partition that the map places there', { partition });
    assertEpoch(writer, epoch);
    heads.set(partition, { head, hash });
  });
  const versions = new Map<string, bigint>();
  streams.forEach((stream, i) => versions.set(stream, look?.versions?.[i] ?? 0n));
  const commands = new Map<string, CommittedCommand>();
  look?.command_indexes?.forEach((ordinal, i) => {
    const append = appends[ordinal - 1];
    const streamVersion = look.command_versions?.[i];
    const position = look.command_positions?.[i];
    if (append !== undefined && streamVersion !== undefined && position !== undefined) commands.set(commandKey(append), { streamVersion, position });
  });
  return { partitions: heads, versions, commands };
}

function assertEpoch(writer: WriterIdentity, stored: bigint): void {
  if (stored > writer.epoch) throw new StaleEpoch(writer.epoch, stored);
  if (stored < writer.epoch) throw notDone('EPOCH_NOT_RAISED', `this process was started for epoch ${writer.epoch}, the log still stands at ${stored}`);
}

/** Sends what `lockAndResolve` decided. The statements are on the wire when this returns; COMMIT may follow at once. */
export function sendWrites(client: Queryable, writer: WriterIdentity, resolved: ResolvedAppends): Promise<unknown>[] {
  const sent: Promise<unknown>[] = [];
  if (resolved.events.length > 0) sent.push(client.query({ ...INSERT_EVENTS, values: eventColumns(resolved.events, writer) }));
  if (resolved.heads.size > 0) {
    const heads = [...resolved.heads.values()];
    sent.push(client.query({ ...WRITE_HEADS, values: [numberArray([...resolved.heads.keys()]), numberArray(heads.map((h) => h.head)), byteaArray(heads.map((h) => h.hash)), writer.epoch] }));
  }
  return sent;
}

const APPEND_IF_UNMOVED = {
  name: 'event_store_append_if_unmoved',
  text: `SELECT event_store.append_if_unmoved($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25)`,
};

/** An append that is decided on what the writer believes, and holds only if the database confirms every bit of it. */
export interface Hypothesis {
  readonly resolved: ResolvedAppends;
  readonly from: ReadonlyMap<number, PartitionHead>;
  /** Streams that must stand at a version above zero. */
  readonly bases: ReadonlyMap<string, bigint>;
}

/**
 * Decides appends on known heads and on the versions that they expect. Undefined where that cannot be written blind: a head is
 * not known, an append does not care for the version, writes no event, or would conflict with one before it.
 */
export function hypothesise(writer: WriterIdentity, appends: readonly Append[], known: ReadonlyMap<number, PartitionHead>): Hypothesis | undefined {
  const versions = new Map<string, bigint>();
  const bases = new Map<string, bigint>();
  const from = new Map<number, PartitionHead>();
  for (const { streamId, expectedVersion, events } of appends) {
    if (expectedVersion === 'any' || events.length === 0) return undefined;
    const partition = writer.partitionOf(streamId);
    const head = known.get(partition);
    if (head === undefined) return undefined;
    from.set(partition, head);
    if (versions.has(streamId)) continue;
    const base = expectedVersion === 'must-not-exist' ? 0n : expectedVersion;
    versions.set(streamId, base);
    if (base > 0n) bases.set(streamId, base);
  }
  const resolved = resolveAppends({ partitions: from, versions, commands: new Map() }, appends, contextOf(writer));
  return resolved.results.every(({ outcome }) => outcome === 'appended') ? { resolved, from, bases } : undefined;
}

/** One statement that is its own transaction: its answer comes after the commit, and after the wait for the replicas. */
export function sendHypothesis(client: Queryable, writer: WriterIdentity, { resolved, from, bases }: Hypothesis): Promise<unknown> {
  const before = [...from.values()];
  const after = [...from.keys()].map((partition) => resolved.heads.get(partition) ?? { head: 0n, hash: new Uint8Array() });
  return client.query({
    ...APPEND_IF_UNMOVED,
    values: [
      numberArray([...from.keys()]),
      numberArray(before.map((h) => h.head)),
      byteaArray(before.map((h) => h.hash)),
      numberArray(after.map((h) => h.head)),
      byteaArray(after.map((h) => h.hash)),
      textArray([...bases.keys()]),
      numberArray([...bases.values()]),
      ...eventColumns(resolved.events, writer),
    ],
  });
}

/** The database did not confirm a hypothesis: decide anew under the lock. Unique violations are a stream or command that exists. */
export function isDisproved(sqlStateOfError: string | undefined): boolean {
  return sqlStateOfError === 'ES001' || sqlStateOfError === '23505';
}

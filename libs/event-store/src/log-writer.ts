import type pg from 'pg';
import { invariant } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { StaleEpoch, notDone } from './errors';
import { eventColumns, INSERT_EVENTS } from './event-rows';
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
    values: [partitions, streams, appends.map((a) => a.streamId), appends.map((a) => a.commandId)],
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
  if (resolved.events.length > 0) sent.push(client.query({ ...INSERT_EVENTS, values: eventColumns(resolved.events) }));
  if (resolved.heads.size > 0) {
    const heads = [...resolved.heads.values()];
    sent.push(client.query({ ...WRITE_HEADS, values: [[...resolved.heads.keys()], heads.map((h) => h.head), heads.map((h) => h.hash), writer.epoch] }));
  }
  return sent;
}

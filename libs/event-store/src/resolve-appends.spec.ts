import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UnixNs } from '@settlement/kernel/time';
import { chainHash, GENESIS_HASH } from './canonical';
import type { EncodedEvent } from './event';
import type { Append, ExpectedVersion } from './port';
import { commandKey, resolveAppends, type AppendContext, type CommittedCommand, type LogState, type NewEvent, type PartitionHead } from './resolve-appends';

const PARTITIONS = 3;
const context: AppendContext = { source: 'gateway', region: 'eu', epoch: 1n, recordedAtNs: 1n as UnixNs, partitionOf: (streamId) => Number(streamId.slice(1)) % PARTITIONS };
const encoded: EncodedEvent = { type: 'Happened', schemaVersion: 1, payload: new Uint8Array([1]) };

/** A log in memory that applies what was resolved, as the database does. */
class Log {
  readonly events: NewEvent[] = [];
  private readonly heads = new Map<number, PartitionHead>(Array.from({ length: PARTITIONS }, (_, id) => [id, { head: 0n, hash: GENESIS_HASH }]));

  state(): LogState {
    const versions = new Map<string, bigint>();
    const commands = new Map<string, CommittedCommand>();
    for (const event of this.events) {
      versions.set(event.streamId, event.streamVersion);
      commands.set(commandKey(event), { streamVersion: event.streamVersion, position: event.position });
    }
    return { partitions: this.heads, versions, commands };
  }

  apply(appends: readonly Append[]) {
    const resolved = resolveAppends(this.state(), appends, context);
    this.events.push(...resolved.events);
    for (const [partition, head] of resolved.heads) this.heads.set(partition, head);
    return resolved.results;
  }
}

const anyAppend: fc.Arbitrary<Append> = fc.record({
  streamId: fc.constantFrom('s0', 's1', 's2', 's3', 's4'),
  commandId: fc.integer({ min: 0, max: 30 }).map((n) => `c${n}`),
  expectedVersion: fc.oneof(fc.constant<ExpectedVersion>('any'), fc.constant<ExpectedVersion>('must-not-exist'), fc.bigInt({ min: 0n, max: 6n })),
  events: fc.integer({ min: 0, max: 3 }).map((n) => Array.from({ length: n }, () => encoded)),
  chained: fc.boolean(),
});
const batches = fc.array(fc.array(anyAppend, { maxLength: 6 }), { maxLength: 12 });

describe('resolving appends', () => {
  it('keeps positions dense per partition, versions dense per stream and the chain whole, whatever is appended in whatever batches', () => {
    fc.assert(
      fc.property(batches, (all) => {
        const log = new Log();
        for (const batch of all) log.apply(batch);
        for (let partition = 0; partition < PARTITIONS; partition += 1) {
          let hash: Uint8Array = GENESIS_HASH;
          const events = log.events.filter((event) => event.partition === partition);
          expect(events.map((event) => event.position)).toEqual(events.map((_, i) => BigInt(i + 1)));
          for (const event of events) {
            hash = chainHash(hash, event);
            expect(event.hash).toEqual(hash);
          }
        }
        for (const events of Map.groupBy(log.events, (event) => event.streamId).values()) {
          expect(events.map((event) => event.streamVersion)).toEqual(events.map((_, i) => BigInt(i + 1)));
        }
      }),
    );
  });

  it('records a command once per stream and answers each repetition with the first result', () => {
    fc.assert(
      fc.property(batches, (all) => {
        const log = new Log();
        const first = new Map<string, bigint>();
        for (const batch of all) {
          log.apply(batch).forEach((result, i) => {
            const append = batch[i];
            if (append === undefined || result.outcome === 'conflict') return;
            const known = first.get(commandKey(append));
            if (result.outcome === 'repeated') expect(result.position).toBe(known);
            else if (append.events.length > 0) {
              expect(known).toBeUndefined();
              first.set(commandKey(append), result.position);
            }
          });
        }
        const starts = log.events.filter((event) => event.commandIndex === 0).map(commandKey);
        expect(new Set(starts).size).toBe(starts.length);
      }),
    );
  });

  it('appends exactly when the expected version is the actual one, and names the actual one in a conflict', () => {
    fc.assert(
      fc.property(batches, anyAppend, (all, last) => {
        const log = new Log();
        for (const batch of all) log.apply(batch);
        const { versions, commands } = log.state();
        const actual = versions.get(last.streamId) ?? 0n;
        const [result] = log.apply([{ ...last, chained: false }]);
        const fits = last.expectedVersion === 'any' || (last.expectedVersion === 'must-not-exist' ? actual === 0n : last.expectedVersion === actual);
        if (commands.has(commandKey(last))) expect(result?.outcome).toBe('repeated');
        else if (fits) expect(result).toMatchObject({ outcome: 'appended', streamVersion: actual + BigInt(last.events.length) });
        else expect(result).toEqual({ outcome: 'conflict', streamId: last.streamId, expectedVersion: last.expectedVersion, actualVersion: actual });
      }),
    );
  });

  it('of several writers that decided on one version, lets exactly one through', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 20 }), (writers) => {
        const log = new Log();
        const results = Array.from({ length: writers }, (_, n) => log.apply([{ streamId: 's0', commandId: `c${n}`, expectedVersion: 'must-not-exist', events: [encoded] }])[0]?.outcome);
        expect(results).toEqual(['appended', ...Array.from({ length: writers - 1 }, () => 'conflict')]);
      }),
    );
  });

  it('batching changes no answer: one transaction for all or one for each', () => {
    fc.assert(
      fc.property(fc.array(anyAppend.map((append) => ({ ...append, chained: false })), { maxLength: 10 }), (appends) => {
        const together = new Log().apply(appends);
        const single = new Log();
        expect(together).toEqual(appends.flatMap((append) => single.apply([append])));
      }),
    );
  });

  it('does not let through what was decided on an append that met a conflict, even where the version fits by chance', () => {
    const log = new Log();
    log.apply([{ streamId: 's0', commandId: 'a', expectedVersion: 'any', events: [encoded, encoded] }]);
    const results = log.apply([
      { streamId: 's0', commandId: 'b', expectedVersion: 1n, events: [encoded] },
      { streamId: 's0', commandId: 'c', expectedVersion: 2n, events: [encoded], chained: true },
    ]);
    expect(results.map((result) => result.outcome)).toEqual(['conflict', 'conflict']);
  });

  it('writes the partition of a repetition and of a barrier although no head moves', () => {
    const log = new Log();
    const append: Append = { streamId: 's1', commandId: 'a', expectedVersion: 'must-not-exist', events: [encoded] };
    log.apply([append]);
    expect(resolveAppends(log.state(), [append], context)).toMatchObject({ events: [], heads: new Map([[1, { head: 1n }]]) });
    expect(resolveAppends(log.state(), [{ ...append, commandId: 'b', expectedVersion: 1n, events: [] }], context)).toMatchObject({ events: [], heads: new Map([[1, { head: 1n }]]) });
    expect(resolveAppends(log.state(), [{ ...append, commandId: 'b', expectedVersion: 7n }], context).heads.size).toBe(0);
  });
});

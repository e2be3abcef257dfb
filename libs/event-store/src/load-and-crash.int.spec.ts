import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import { advance } from './consumer';
import { AppendOutcomeUnknown } from './errors';
import type { RecordedEvent } from './event';
import { LogReader } from './log-reader';
import type { PostgresEventStore } from './postgres-event-store';
import { runOwnConsumer } from './runner';
import { verifyLive } from './verify-sources';

const ROOT = join(import.meta.dirname, '../../..');
/** As the comparison with other stores was made; shorter while working on it. */
const LOAD_MS = Number(process.env['EVENT_STORE_LOAD_MS'] ?? '10000');

async function verified(url: string) {
  const reader = await LogReader.open(url);
  try {
    return await verifyLive(reader);
  } finally {
    await reader.close();
  }
}

describe('under load', () => {
  let server: LocalPostgres;
  let url: string;
  beforeAll(async () => {
    server = await startPostgres({ databases: ['gateway', 'crash', 'killed'] });
    url = server.urlFor('gateway');
  });
  afterAll(async () => {
    await server.stop();
  });

  it('delivers to consumers exactly what 32 writers in two stores have written: nothing lost, none twice, each stream in order', async () => {
    const stores = [await openStore(url), await openStore(url)];
    const [reading] = stores;
    if (reading === undefined) throw new Error('no store');
    const seen = [new Map<string, RecordedEvent>(), new Map<string, RecordedEvent>()];
    const doubled: string[] = [];
    const disorder: string[] = [];
    const consumers = seen.map((delivered, n) => {
      const versions = new Map<string, bigint>();
      return runOwnConsumer({
        store: reading,
        clock: systemClock,
        consumer: `reader-${n}`,
        batchSizeMax: 97,
        handle: async (partition, events) => {
          await advance({
            store: reading,
            consumer: `reader-${n}`,
            source: 'gateway',
            partition,
            events,
            effect: async (_tx, fresh) => {
              for (const e of fresh) {
                if (delivered.has(e.eventId)) doubled.push(e.eventId);
                delivered.set(e.eventId, e);
                if (e.streamVersion !== (versions.get(e.streamId) ?? 0n) + 1n) disorder.push(`${e.streamId}#${e.streamVersion}`);
                versions.set(e.streamId, e.streamVersion);
              }
            },
          });
        },
      });
    });
    let acknowledged = 0;
    const untilMs = systemClock.monotonicMs() + LOAD_MS;
    await Promise.all(
      Array.from({ length: 32 }, async (_, writer) => {
        for (let i = 0; systemClock.monotonicMs() < untilMs; i += 1) {
          // Eight streams of their own and one that all share, each writer through one of two stores.
          const shared = i % 9 === 8;
          const streamId = shared ? 'shared' : `writer-${writer}-${i % 8}`;
          const events = Array.from({ length: 1 + (i % 3) }, () => event());
          const result = await stores[writer % 2]?.append(appendOf(streamId, `${writer}-${i}`, 'any', ...events));
          expect(result?.outcome).toBe('appended');
          acknowledged += events.length;
        }
      }),
    );
    await Promise.all(consumers.map((consumer) => consumer.caughtUp()));
    await Promise.all(consumers.map((consumer) => consumer.stop()));
    const [row] = await reading.query<{ stored: bigint }>('SELECT count(*) AS stored FROM event_store.event');
    console.log(`stored ${row?.stored}, delivered ${seen.map((s) => s.size).join(' and ')}, lost 0, doubled ${doubled.length}`);
    expect(row?.stored).toBe(BigInt(acknowledged));
    for (const delivered of seen) expect(BigInt(delivered.size)).toBe(row?.stored);
    expect(doubled).toEqual([]);
    expect(disorder).toEqual([]);
    expect(await verified(url)).toMatchObject({ firstBad: undefined, events: BigInt(acknowledged) });
    await Promise.all(stores.map((store) => store.close()));
  });

  it('loses nothing acknowledged when the writer is killed in mid-load', async () => {
    const database = server.urlFor('killed');
    const bundle = join(ROOT, 'node_modules/.cache/settlement/bundles/event-store-writer.mjs');
    const bundled = spawnSync('node', ['tools/bundle.mjs', join(ROOT, 'libs/event-store/test/writer-process.ts'), bundle], { cwd: ROOT, encoding: 'utf8' });
    expect(bundled.status, bundled.stderr).toBe(0);
    const acknowledged: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const writer = spawn('node', [bundle, database, `round-${round}`], { stdio: ['ignore', 'pipe', 'inherit'] });
      createInterface({ input: writer.stdout }).on('line', (line) => acknowledged.push(line));
      const closed = new Promise((done) => writer.once('close', done));
      while (acknowledged.length < (round + 1) * 300) await systemClock.sleep(20);
      writer.kill('SIGKILL');
      await closed;
    }
    const store = await openStore(database);
    const stored = new Set<string>();
    for (let partition = 0; partition < 4; partition += 1) for (const e of await store.readPartition(partition, 0n, 1_000_000)) stored.add(e.commandId);
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
    expect((await verified(database)).firstBad).toBeUndefined();
    await store.close();
  });

  it('loses nothing acknowledged when Postgres is killed in mid-load, says unknown for what was in flight, and goes on with the same store', async () => {
    const database = server.urlFor('crash');
    const store: PostgresEventStore = await openStore(database);
    const acknowledged = new Set<string>();
    const unknown = new Set<string>();
    let stop = false;
    const writers = Array.from({ length: 32 }, async (_, writer) => {
      for (let i = 0; !stop; i += 1) {
        const id = `p-${writer}-${i}`;
        // As a caller does: the same command again until it is answered.
        for (;;) {
          try {
            await store.append(appendOf(id, id, 'must-not-exist', event()));
            acknowledged.add(id);
            break;
          } catch (error) {
            if (error instanceof AppendOutcomeUnknown) unknown.add(id);
            await systemClock.sleep(50);
          }
        }
      }
    });
    // Until a kill has met a commit in flight, which the first one usually does.
    for (let kill = 1; kill <= 2 || (unknown.size === 0 && kill <= 8); kill += 1) {
      const from = acknowledged.size;
      while (acknowledged.size < from + 1_000) await systemClock.sleep(10);
      await server.kill9();
      await systemClock.sleep(200);
      await server.start();
    }
    const from = acknowledged.size;
    while (acknowledged.size < from + 500) await systemClock.sleep(10);
    stop = true;
    await Promise.all(writers);
    const stored: string[] = [];
    for (let partition = 0; partition < 4; partition += 1) stored.push(...(await store.readPartition(partition, 0n, 1_000_000)).map((e) => e.commandId));
    const once = new Set(stored);
    expect([...acknowledged].filter((id) => !once.has(id))).toEqual([]);
    expect(once.size).toBe(stored.length);
    expect(unknown.size).toBeGreaterThan(0);
    expect((await verified(database)).firstBad).toBeUndefined();
    await store.close();
  });
});

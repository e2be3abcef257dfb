import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '@settlement/config/system-ports';
import { OperationalError } from '@settlement/kernel/errors';
import { atExit } from '@settlement/local-stack/at-exit';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';
import { LogReader } from './log-reader';
import type { Append } from './port';
import type { PostgresEventStore } from './postgres-event-store';
import { verifyLive } from './verify-sources';

/** A file system of its own, small and in memory, that is full after a few megabytes. */
class SmallDisk {
  private constructor(readonly path: string) {}

  /** Undefined where this process may not mount. */
  static mount(megabytes: number): SmallDisk | undefined {
    const path = mkdtempSync(join(tmpdir(), 'settlement-small-disk-'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0777`, 'tmpfs', path], { encoding: 'utf8' });
    if (mounted.status !== 0) {
      rmSync(path, { recursive: true });
      return undefined;
    }
    return new SmallDisk(path);
  }

  grow(megabytes: number): void {
    const grown = spawnSync('mount', ['-o', `remount,size=${megabytes}m`, this.path], { encoding: 'utf8' });
    if (grown.status !== 0) throw new Error(`the disk could not grow: ${grown.stderr}`);
  }

  /** Lazily, so that a server that still ends does not keep the mount. */
  unmount(): void {
    spawnSync('umount', ['-l', this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

const probe = SmallDisk.mount(1);
probe?.unmount();
if (probe === undefined) {
  process.stderr.write('\n!!! NOT TESTED: what appends do on a full disk. The test mounts a small disk of its own, which needs root on Linux.\n\n');
}

/** What the test knows of its appends, each tried once. */
interface Fill {
  readonly acknowledged: readonly Append[];
  readonly failed: readonly { readonly append: Append; readonly error: OperationalError }[];
}

const PAYLOAD_BYTES = 64 * 1024;
const WRITERS = 4;

/** Four writers append until each has met an error. Random bytes: Postgres would compress others. */
async function fill(store: PostgresEventStore): Promise<Fill> {
  const acknowledged: Append[] = [];
  const failed: { append: Append; error: OperationalError }[] = [];
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      for (let i = 0; ; i += 1) {
        const append = appendOf(`writer-${writer}-${i}`, 'fill', 'must-not-exist', { ...event(), payload: randomBytes(PAYLOAD_BYTES) });
        try {
          expect((await store.append(append)).outcome).toBe('appended');
          acknowledged.push(append);
        } catch (error) {
          if (!(error instanceof OperationalError)) throw error;
          failed.push({ append, error });
          return;
        }
      }
    }),
  );
  return { acknowledged, failed };
}

/** Tries as a caller does: the same command again while it fails, for at most ten seconds. */
async function untilAnswered(store: PostgresEventStore, append: Append): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    try {
      return (await store.append(append)).outcome;
    } catch (error) {
      if (!(error instanceof OperationalError) || tries === 100) throw error;
      await systemClock.sleep(100);
    }
  }
}

/** Postgres recovers by itself, or, where recovery met the full disk, has ended and is started as a supervisor would. */
async function untilUp(server: LocalPostgres): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const client = new pg.Client({ connectionString: server.urlFor('gateway') });
    // The server may end between the connection and its use.
    client.on('error', () => undefined);
    try {
      await server.start();
      await client.connect();
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await systemClock.sleep(100);
    } finally {
      await client.end();
    }
  }
}

/** Nothing acknowledged is missing, every failed append is written exactly once when it is repeated, and the chain holds. */
async function expectWhole(url: string, store: PostgresEventStore, { acknowledged, failed }: Fill): Promise<void> {
  for (const { append, error } of failed) {
    const outcome = await untilAnswered(store, append);
    if (error.outcome === 'not-done') expect(outcome).toBe('appended');
    else expect(['appended', 'repeated']).toContain(outcome);
  }
  const all = [...acknowledged, ...failed.map(({ append }) => append)];
  const stored = await store.readStreams(all.map(({ streamId }) => streamId));
  const wrong = all.filter(({ streamId, events }) => {
    const [only, ...more] = stored.get(streamId) ?? [];
    return only === undefined || more.length > 0 || Buffer.compare(only.payload, events[0]?.payload ?? new Uint8Array()) !== 0;
  });
  expect(wrong.map(({ streamId }) => streamId)).toEqual([]);
  expect((await store.append(appendOf('afterwards', 'c', 'must-not-exist', event()))).outcome).toBe('appended');
  const reader = await LogReader.open(url);
  try {
    expect(await verifyLive(reader)).toMatchObject({ firstBad: undefined, events: BigInt(all.length + 1) });
  } finally {
    await reader.close();
  }
}

describe.skipIf(probe === undefined)('on a disk that fills up', () => {
  let mounted: SmallDisk[] = [];
  beforeAll(() => {
    atExit(() => {
      for (const disk of mounted) disk.unmount();
    });
  });
  afterAll(() => {
    for (const disk of mounted) disk.unmount();
    mounted = [];
  });
  const smallDisk = (megabytes: number): SmallDisk => {
    const disk = SmallDisk.mount(megabytes);
    if (disk === undefined) throw new Error('the probe could mount, this test could not');
    mounted.push(disk);
    return disk;
  };

  it('refuses appends as not done while the tables have no space, and goes on by itself once they have', async () => {
    const disk = smallDisk(32);
    const server: LocalPostgres = await startPostgres({ databases: [] });
    onTestFinished(() => server.stop());
    // Only the tables stand on the small disk: the WAL has space, so Postgres refuses the statement and lives.
    const space = join(disk.path, 'tables');
    mkdirSync(space);
    // Root mounts, and the server runs as another user.
    const { uid, gid } = statSync(server.dataDir);
    chownSync(space, uid, gid);
    const admin = new pg.Client({ connectionString: server.urlFor('postgres') });
    await admin.connect();
    await admin.query(`CREATE TABLESPACE small LOCATION ${admin.escapeLiteral(space)}`);
    await admin.query('CREATE DATABASE gateway TABLESPACE small');
    await admin.end();
    const store = await openStore(server.urlFor('gateway'));
    onTestFinished(() => store.close());

    const filled = await fill(store);
    expect(filled.acknowledged.length).toBeGreaterThan(20);
    for (const { error } of filled.failed) {
      expect(error).toMatchObject({ code: 'DATABASE_FULL', outcome: 'not-done' });
      expect(error.message).toMatch(/the disk of the database is full; free or add space there.*No space left on device/);
    }
    // An effect of a transaction meets the same wall, and its appends go with it.
    const within = appendOf('within', 'c', 'must-not-exist', { ...event(), payload: randomBytes(PAYLOAD_BYTES) });
    await expect(store.transact(store.partitionOf('within'), (tx) => tx.append([within]))).rejects.toMatchObject({ code: 'DATABASE_FULL', outcome: 'not-done' });
    // What is there can still be read.
    expect(await store.readStream(filled.acknowledged[0]?.streamId ?? '')).toHaveLength(1);

    disk.grow(64);
    await expectWhole(server.urlFor('gateway'), store, filled);
  });

  it('loses nothing acknowledged when there is no space for the WAL and Postgres gives up', async () => {
    const disk = smallDisk(110);
    const server = await startPostgres({ dataDir: join(disk.path, 'data'), databases: ['gateway'] });
    onTestFinished(() => server.stop());
    const store = await openStore(server.urlFor('gateway'), { limits: { giveUpAfterMs: 3_000 } });
    onTestFinished(() => store.close());

    const filled = await fill(store);
    expect(filled.acknowledged.length).toBeGreaterThan(20);
    // Which of the writers was in its commit is chance; that one hears of the disk.
    expect(filled.failed.map(({ error }) => error.message).join('\n')).toMatch(/the disk of the database is full.*free or add space there/);
    for (const { error } of filled.failed) expect(['not-done', 'unknown']).toContain(error.outcome);
    expect(readFileSync(server.logFile, 'utf8')).toMatch(/PANIC: .*No space left on device/);

    disk.grow(200);
    await untilUp(server);
    await expectWhole(server.urlFor('gateway'), store, filled);
  });
});

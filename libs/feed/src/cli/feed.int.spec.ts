import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { migrateEventStore } from '@settlement/event-store/migrate';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { poolDatabase } from '../feed-database';
import { migrateFeed } from '../migrate-feed';
import { Parking, parkedStreams } from '../parking';
import { EventMaker } from '../test-log';

const root = join(import.meta.dirname, '../../../..');
let postgres: LocalPostgres;
let pool: pg.Pool;
let url: string;

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['gateway'] });
  url = postgres.urlFor('gateway');
  await migrateEventStore(url, { source: 'gateway', partitions: 1, held: [0], epoch: 1n });
  await migrateFeed(url);
  pool = new pg.Pool({ connectionString: url, max: 2 });
});
afterAll(async () => {
  await pool.end();
  await postgres.stop();
});

/** As `npm run feed -- …`. */
function feed(...args: string[]): Promise<{ readonly code: number | null; readonly out: string; readonly error: string }> {
  const child = spawn(process.execPath, [join(root, 'tools/run.mjs'), 'feed', ...args], { cwd: root });
  let out = '';
  let error = '';
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (error += text.toString()));
  return new Promise((resolve) => {
    child.once('close', (code) => {
      resolve({ code, out, error });
    });
  });
}

it('lists parked streams and marks the one that is named for replay', async () => {
  expect(await feed('parked', '--url', url)).toMatchObject({ code: 0, out: 'no stream is parked\n' });

  const maker = new EventMaker('relayer');
  const database = poolDatabase(pool);
  const parking = new Parking('relayer', 'relay-outcome');
  await database.transact(async (tx) => {
    await parking.park(tx, maker.next(0, 'intent-1'), new TypeError('no such payment'), 5);
    await parking.setBehind(tx, [maker.next(0, 'intent-1')]);
    await parking.park(tx, maker.next(0, 'intent-2'), new TypeError('no such payment'), 5);
  });
  const { code, out } = await feed('parked', '--url', url, '--service', 'gateway', '--stream', 'intent-1');
  expect(code).toBe(0);
  expect(out).toContain('gateway  relay-outcome of relayer  intent-1\n    2 events from 0@1 (SomethingHappened), parked ');
  expect(out).toContain('TypeError: no such payment');
  expect(out).not.toContain('intent-2');

  expect(await feed('replay', '--url', url, '--stream', 'intent-1')).toMatchObject({ code: 0 });
  expect((await parkedStreams(database)).map((parked) => [parked.streamId, parked.replayRequested])).toEqual([['intent-1', true], ['intent-2', false]]);
  const listed = await feed('parked', '--url', url, '--json');
  expect(listed.out.trim().split('\n').map((line) => (JSON.parse(line) as { streamId: string }).streamId)).toEqual(['intent-1', 'intent-2']);
  expect(await feed('replay', '--url', url, '--stream', 'nothing')).toMatchObject({ code: 1, out: 'no such stream is parked\n' });
});

it('says what is wrong with a call, and which database does not answer', async () => {
  expect(await feed('replay', '--url', url)).toMatchObject({ code: 2, error: expect.stringContaining('replay needs --stream ID or --all') as string });
  expect(await feed('mend', '--url', url)).toMatchObject({ code: 2 });
  expect(await feed('parked', '--url', 'postgresql://postgres@127.0.0.1:1/gateway')).toMatchObject({ code: 3, error: expect.stringContaining('ECONNREFUSED') as string });
});

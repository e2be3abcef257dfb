import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { ScreeningId } from '@settlement/kernel/ids';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { Role, Subject, Verdict } from '@settlement/proto/screening/v1/screening';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DirectoryListFolder, FLAT_LIST_ID } from '../adapters/directory-list-folder';
import { migrateListArchive, PgListArchive } from '../adapters/pg-list-archive';
import { partiesDigest, type Query } from '../screening/parties-digest';
import { rederive } from '../screening/rederive';
import { Screener } from '../screening/screener';
import { DEFAULT_GUARD } from './list-guard';
import { ListRegistry, type ListRegistryOptions } from './list-registry';
import { listStream } from './list.events';

const DAY_MS = 24 * 60 * 60 * 1_000;
const LISTED = '0x7f367cc41522ce07553e823bf3be79a889debe1b';
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { decided: () => undefined, judged: () => undefined, unavailable: () => undefined, listLoaded: () => undefined, listRefused: () => undefined, listFresh: () => undefined };
const digest = partiesDigest([Buffer.alloc(32, 7)]);
const addresses = (count: number): string[] => [LISTED, ...Array.from({ length: count - 1 }, (_, i) => `0x${String(i).padStart(40, '9')}`)];

let postgres: LocalPostgres;
let database = 0;
let store: PostgresEventStore;
let archive: PgListArchive;
let folder: string;
let aheadMs: number;
const clock: Clock = { ...systemClock, nowNs: () => (systemClock.nowNs() + BigInt(aheadMs) * 1_000_000n) as UnixNs };

const registry = (over: Partial<ListRegistryOptions> = {}): ListRegistry =>
  new ListRegistry({ store, archive, folder: new DirectoryListFolder(folder), clock, log, metrics, limits: DEFAULT_GUARD, maxAgeMs: 10 * DAY_MS, required: [], ...over });
const labels = (of: ListRegistry): readonly string[] | string => {
  const usable = of.usable();
  return usable.ok ? usable.lists.map(({ label }) => label.replace(/#.*/, '')) : usable.why;
};
const write = (version: string, count = 20, listId = 'ofac', into = folder): void => writeSandboxList(join(into, listId), { addresses: addresses(count), names: ['TESTOV, Sandbox'] }, version);
const types = async (listId: string): Promise<readonly string[]> => (await store.readStream(listStream(listId))).map(({ type }) => type);

beforeAll(async () => {
  postgres = await startPostgres({ databases: Array.from({ length: 9 }, (_, i) => `screening${i}`) });
});
afterAll(async () => {
  await store?.close();
  await postgres?.stop();
});
beforeEach(async () => {
  await store?.close();
  const url = postgres.urlFor(`screening${database}`);
  database += 1;
  store = await openEventStore({ source: 'compliance-screening', partitionMap: singleDatabase(url), region: 'test', epoch: 1n, clock: systemClock });
  await migrateListArchive(url);
  archive = new PgListArchive(store);
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = mkdtempSync(join(tmpdir(), 'settlement-lists-'));
  aheadMs = 0;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('list registry on Postgres', () => {
  it('takes the files of a single list from the folder itself, and several lists from folders in it', async () => {
    const lists = registry();
    await lists.poll();
    expect(labels(lists)).toMatch(/^no list/);
    writeSandboxList(folder, { addresses: addresses(5), names: [] }, 'flat-1');
    write('v1', 20, 'other');
    await lists.poll();
    expect(labels(lists)).toEqual([`${FLAT_LIST_ID}@flat-1`, 'other@v1']);
  });

  it('decides nothing while one list has no usable version, unless only others are required', async () => {
    write('v1');
    mkdirSync(join(folder, 'broken'));
    writeFileSync(join(folder, 'broken/sdn.csv'), '');
    const lists = registry();
    await lists.poll();
    expect(labels(lists)).toBe('list broken: no usable version: EMPTY: sdn.csv has no bytes');
    const narrow = registry({ required: ['ofac'] });
    await narrow.poll();
    expect(labels(narrow)).toEqual(['ofac@v1']);
    const missing = registry({ required: ['ofac', 'eu'] });
    await missing.poll();
    expect(labels(missing)).toBe('list eu: no version was ever loaded');
  });

  it('keeps two replicas with different folders from taking the list back and forth', async () => {
    const oldFolder = mkdtempSync(join(tmpdir(), 'settlement-lists-old-'));
    try {
      write('v1', 20, 'ofac', oldFolder);
      write('v1');
      const [ahead, behind] = [registry(), registry({ folder: new DirectoryListFolder(oldFolder) })];
      for (const lists of [ahead, behind]) await lists.poll();
      write('v2', 21);
      await ahead.poll();
      await behind.poll();
      const restarted = registry({ folder: new DirectoryListFolder(oldFolder) });
      await restarted.poll();
      for (const lists of [ahead, behind, restarted]) expect(labels(lists)).toEqual(['ofac@v2']);
      expect(await types('ofac')).toEqual(['ListVersionLoaded', 'ListVersionLoaded']);
    } finally {
      rmSync(oldFolder, { recursive: true, force: true });
    }
  });

  it('decides with a list that only another replica has seen, as soon as it was recorded', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'settlement-lists-elsewhere-'));
    try {
      write('v1');
      write('v1', 20, 'ofac', elsewhere);
      const [first, second] = [registry(), registry({ folder: new DirectoryListFolder(elsewhere) })];
      for (const lists of [first, second]) await lists.poll();
      write('v7', 20, 'eu');
      for (const lists of [first, second]) await lists.poll();
      expect(labels(second)).toEqual(['ofac@v1', 'eu@v7']);
    } finally {
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });

  it('records one event when two replicas load the same version at once', async () => {
    write('v1');
    const both = [registry(), registry()];
    await Promise.all(both.map((lists) => lists.poll()));
    await Promise.all(both.map((lists) => lists.poll()));
    for (const lists of both) expect(labels(lists)).toEqual(['ofac@v1']);
    expect(await types('ofac')).toEqual(['ListVersionLoaded']);
  });

  it('records a refused version once, however often it is looked at, and goes on with the next good one', async () => {
    write('v1');
    const lists = registry();
    await lists.poll();
    writeFileSync(join(folder, 'ofac/alt.csv'), '');
    for (let look = 0; look < 3; look += 1) await lists.poll();
    await registry().poll();
    expect(await types('ofac')).toEqual(['ListVersionLoaded', 'ListVersionRefused']);
    expect(labels(lists)).toEqual(['ofac@v1']);
    write('v2', 25);
    await lists.poll();
    expect(labels(lists)).toEqual(['ofac@v2']);
  });

  it('goes stale, and is fresh again once the same bytes were fetched again', async () => {
    write('v1');
    const lists = registry();
    await lists.poll();
    aheadMs = 11 * DAY_MS;
    expect(labels(lists)).toMatch(/^list ofac is stale: ofac@v1/);
    const fetchedAt = new Date(Date.now() + 11 * DAY_MS);
    utimesSync(join(folder, 'ofac/sdn.csv'), fetchedAt, fetchedAt);
    await lists.poll();
    expect(labels(lists)).toEqual(['ofac@v1']);
    expect(await types('ofac')).toEqual(['ListVersionLoaded']);
  });

  it('goes on with the archive when the folder cannot be read, and says what is wrong with the folder', async () => {
    write('v1');
    await registry().poll();
    const lists = registry({ folder: new DirectoryListFolder(join(folder, 'nowhere')) });
    await expect(lists.poll()).rejects.toMatchObject({ code: 'LISTS_UNREADABLE' });
    expect(labels(lists)).toEqual(['ofac@v1']);
  });

  it('makes a past decision again with the bytes of its list, after the list has changed', async () => {
    write('v1');
    const lists = registry();
    await lists.poll();
    const screener = new Screener({ store, lists: { current: async () => lists.usable() }, digest, clock, metrics });
    const query: Query = { subject: Subject.SUBJECT_PAYMENT, subjectId: 'pay_1', parties: [{ role: Role.ROLE_PAYER, chainId: 'eip155:1', address: LISTED, name: 'Sandbox Testov' }] };
    const [decided] = await screener.screenMany([{ screeningId: 'scr_1' as ScreeningId, ...query }], '');
    if (decided === undefined) throw new Error('not decided');
    writeSandboxList(join(folder, 'ofac'), { addresses: addresses(22).slice(1), names: ['TESTOV, Sandbox'] }, 'v2');
    await lists.poll();
    expect(labels(lists)).toEqual(['ofac@v2']);
    expect(await rederive(decided, query, archive, digest)).toMatchObject({ outcome: 'same', judgement: { verdict: Verdict.VERDICT_REJECT } });
    expect(await rederive({ ...decided, verdict: Verdict.VERDICT_ALLOW }, query, archive, digest)).toMatchObject({ outcome: 'different' });
    expect(await rederive(decided, { ...query, parties: [] }, archive, digest)).toMatchObject({ outcome: 'not-comparable', why: 'these are not the parties that were screened' });
    await expect(store.transact(0, (tx) => tx.query(`UPDATE list_file SET bytes = 'x'`))).resolves.toBeDefined();
    await expect(rederive(decided, query, archive, digest)).rejects.toThrow(/I6/);
  });
});

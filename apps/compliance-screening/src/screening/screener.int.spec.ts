import { systemClock } from '@settlement/config/system-ports';
import { AppendOutcomeUnknown } from '@settlement/event-store/errors';
import type { EventStore } from '@settlement/event-store/port';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { ScreeningId } from '@settlement/kernel/ids';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { Role, Subject, Verdict } from '@settlement/proto/screening/v1/screening';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ListEntry } from '../list/list-content';
import { indexList } from '../matching/list-index';
import type { UsableLists } from '../list/list-registry';
import { partiesDigest } from './parties-digest';
import { Screener, type ScreenerOptions, type Screening } from './screener';
import { screeningStream } from './screening.events';

const LISTED = '0x7f367cc41522ce07553e823bf3be79a889debe1b';
const CLEAN = '0x1111111111111111111111111111111111111111';
const metrics = { decided: () => undefined, judged: () => undefined, unavailable: () => undefined, listLoaded: () => undefined, listRefused: () => undefined, listFresh: () => undefined };
const listed = (...addresses: string[]): UsableLists => {
  const entry: ListEntry = { entryId: '1', name: 'SANDBOX WALLET', kind: '', programs: [], aliases: [], addresses: addresses.map((address) => ({ ticker: 'ETH', address })) };
  const counts = { entries: 1, sdn: 1, add: 0, alt: 0, comments: 0, remarkAddresses: 0, fileAddresses: 0, unsoundAddresses: 0 };
  return { ok: true, lists: [{ listId: 'test', label: 'test@1', index: indexList({ entries: [entry], counts, fileNames: [], endMarked: [] }) }] };
};
const KEYS = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const;
const ask = (id: string, address = CLEAN): Screening => ({
  screeningId: id as ScreeningId, subject: Subject.SUBJECT_PAYMENT, subjectId: `pay-${id}`,
  parties: [{ role: Role.ROLE_PAYER, chainId: 'eip155:1', address, name: '' }],
});

let postgres: LocalPostgres;
let store: PostgresEventStore;
const screener = (over: Partial<ScreenerOptions> = {}): Screener =>
  new Screener({ store, lists: { current: async () => listed(LISTED) }, digest: partiesDigest([KEYS[0]]), clock: systemClock, metrics, ...over });

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['screening'] });
  store = await openEventStore({ source: 'compliance-screening', partitionMap: singleDatabase(postgres.urlFor('screening')), region: 'test', epoch: 1n, clock: systemClock });
});
afterAll(async () => {
  await store?.close();
  await postgres?.stop();
});

describe('screener on Postgres', () => {
  it('answers a batch in the order asked, old and new and repeated items mixed', async () => {
    const [old] = await screener().screenMany([ask('m1', LISTED)], '');
    const answers = await screener({ lists: { current: async () => listed() } }).screenMany([ask('m2'), ask('m1', LISTED), ask('m3', LISTED), ask('m2')], '');
    expect(answers.map(({ screeningId, verdict }) => [screeningId, verdict])).toEqual([
      ['m2', Verdict.VERDICT_ALLOW],
      ['m1', Verdict.VERDICT_REJECT],
      ['m3', Verdict.VERDICT_ALLOW],
      ['m2', Verdict.VERDICT_ALLOW],
    ]);
    expect(answers[1]).toEqual(old);
  });

  it('gives two callers that ask at the same time one decision, although they see different lists', async () => {
    const before = screener({ lists: { current: async () => listed() } });
    const after = screener();
    for (let round = 0; round < 20; round += 1) {
      const [[a], [b]] = await Promise.all([before.screenMany([ask(`race${round}`, LISTED)], ''), after.screenMany([ask(`race${round}`, LISTED)], '')]);
      expect(a).toEqual(b);
      expect(await store.readStream(screeningStream(`race${round}` as ScreeningId))).toHaveLength(1);
    }
  });

  it('finds the decision again whose answer was lost, although the list has changed since', async () => {
    const cutOff: EventStore = {
      ...boundStore(),
      appendMany: async (appends) => {
        await store.appendMany(appends);
        throw new AppendOutcomeUnknown('the connection was lost during COMMIT');
      },
    };
    await expect(screener({ store: cutOff, lists: { current: async () => listed() } }).screenMany([ask('lost', LISTED)], '')).rejects.toMatchObject({ outcome: 'unknown' });
    const [found] = await screener().screenMany([ask('lost', LISTED)], '');
    expect(found?.verdict).toBe(Verdict.VERDICT_ALLOW);
  });

  it('refuses other parties under a recorded id, and the same id twice with different parties', async () => {
    await screener().screenMany([ask('p1')], '');
    await expect(screener().screenMany([ask('p2'), ask('p1', LISTED)], '')).rejects.toMatchObject({ name: 'InvalidInput' });
    await expect(screener().screenMany([ask('p3'), ask('p3', LISTED)], '')).rejects.toMatchObject({ name: 'InvalidInput' });
  });

  it('recognises a repetition after the digest key was rotated, and says when the old key is gone', async () => {
    const [first] = await screener().screenMany([ask('k1')], '');
    expect(await screener({ digest: partiesDigest([KEYS[1], KEYS[0]]) }).screenMany([ask('k1')], '')).toEqual([first]);
    await expect(screener({ digest: partiesDigest([KEYS[1]]) }).screenMany([ask('k1')], '')).rejects.toMatchObject({ code: 'DIGEST_KEY_MISSING', outcome: 'not-done' });
  });

  it('decides and records nothing without usable lists', async () => {
    await expect(screener({ lists: { current: async () => ({ ok: false, why: 'stale' }) } }).screenMany([ask('none')], '')).rejects.toMatchObject({ code: 'NO_USABLE_LIST', outcome: 'not-done' });
    expect(await screener().find('none' as ScreeningId)).toBeUndefined();
  });
});

/** The store's methods, so that a test can put its own in the place of one. */
function boundStore(): EventStore {
  return {
    source: store.source,
    partitions: store.partitions,
    partitionOf: (streamId) => store.partitionOf(streamId),
    append: (append) => store.append(append),
    appendMany: (appends) => store.appendMany(appends),
    transact: (partition, work) => store.transact(partition, work),
    readStream: (streamId, after) => store.readStream(streamId, after),
    readStreams: (ids) => store.readStreams(ids),
    readPartition: (partition, after, limit) => store.readPartition(partition, after, limit),
    head: (partition) => store.head(partition),
    onAdvance: (listener) => store.onAdvance(listener),
    query: (text, values, partition) => store.query(text, values, partition),
  };
}

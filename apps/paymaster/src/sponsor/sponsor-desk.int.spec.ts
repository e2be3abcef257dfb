import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { systemClock } from '@settlement/config/system-ports';
import type { ChainId } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { IntentExpired, IntentKind, TransactionFinalized } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { AppendOutcomeUnknown } from '@settlement/event-store/errors';
import type { RecordedEvent } from '@settlement/event-store/event';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PgSponsorBook, reconcileSponsorBook } from '../adapters/pg-sponsor-book';
import { migratePaymaster } from '../adapters/pg-sponsorship-book';
import type { PaymasterMetrics } from '../ports/paymaster-metrics';
import { costConsumer } from './cost-consumer';
import { openConfiguredSponsors } from './configured-sponsors';
import { sponsorCodec } from './sponsor.codec';
import { SponsorDesk } from './sponsor-desk';
import type { SponsorAnswer, SponsorRequest } from './sponsor-group.policy';
import { sponsorDecider } from './sponsor.decider';
import { sponsorStream } from './sponsor.events';

const chainId = 'eip155:31337' as ChainId;
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const wei = (amount: bigint): Wei => amount as Wei;
const hash = `0x${'ab'.repeat(32)}`;

let postgres: LocalPostgres;
let url: string;
let store: PostgresEventStore;
let book: PgSponsorBook;
let odd: string[];
let sponsors = 0;

const metrics = (): PaymasterMetrics => ({ refused: () => undefined, group: () => undefined, oddCost: (kind) => odd.push(kind), operation: () => undefined, ended: () => undefined });
const newDesk = (over: PostgresEventStore = store): SponsorDesk => new SponsorDesk({ store: over, book: new PgSponsorBook(over), clock: systemClock, log, metrics: metrics() });
const open = (epoch = 1n): Promise<PostgresEventStore> =>
  openEventStore({ source: 'paymaster', partitionMap: singleDatabase(url), region: 'test', epoch, clock: systemClock });

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['paymaster'] });
  url = postgres.urlFor('paymaster');
  store = await open();
  await migratePaymaster(url);
  book = new PgSponsorBook(store);
});
afterAll(async () => {
  await store?.close();
  await postgres?.stop();
});
beforeEach(() => {
  odd = [];
});

/** The store's methods, so that a test can put its own in the place of one. */
const bound = (of: PostgresEventStore): PostgresEventStore => ({
  source: of.source,
  partitions: of.partitions,
  partitionOf: (streamId) => of.partitionOf(streamId),
  append: (append) => of.append(append),
  appendMany: (appends) => of.appendMany(appends),
  transact: (partition, work) => of.transact(partition, work),
  readStream: (streamId, after) => of.readStream(streamId, after),
  readStreams: (ids) => of.readStreams(ids),
  readPartition: (partition, after, limit) => of.readPartition(partition, after, limit),
  head: (partition) => of.head(partition),
  onAdvance: (listener) => of.onAdvance(listener),
  query: (text, values, partition) => of.query(text, values, partition),
  sameDatabase: (a, b) => of.sameDatabase(a, b),
  hangingCommits: () => of.hangingCommits(),
  close: () => of.close(),
});

const reserve = (id: string, amount: bigint, subjectId = `pay-${id}`): SponsorRequest => ({
  kind: 'reserve',
  items: [{ reservationId: id as ReservationId, chainId, subjectId, amount: wei(amount) }],
});
const commit = (id: string, cost: bigint): SponsorRequest => ({ kind: 'commit', items: [{ reservationId: id as ReservationId, cost: wei(cost), transactionHash: hash }] });
const release = (id: string): SponsorRequest => ({ kind: 'release', reservationIds: [id as ReservationId] });
const setBudget = (budget: bigint, commandId = 'first'): SponsorRequest => ({ kind: 'set-budget', budget: wei(budget), commandId, alreadyApplied: false });
async function sponsorWith(budget: bigint, desk = newDesk()): Promise<SponsorId> {
  sponsors += 1;
  const sponsorId = `sponsor${sponsors}` as SponsorId;
  await desk.ask(sponsorId, setBudget(budget), '');
  return sponsorId;
}
const outcomes = (answers: readonly SponsorAnswer[]): readonly string[] =>
  answers.flatMap((answer) => (answer.kind === 'reserve' ? answer.items.map((item) => (item.outcome === 'reserved' ? 'reserved' : item.reason)) : []));
/** The log's own sum, beside the book's. */
async function folded(sponsorId: SponsorId) {
  const recorded = await store.readStream(sponsorStream(sponsorId));
  return fold(sponsorDecider, recorded.map((event) => sponsorCodec.decode(event)));
}

describe('sponsor desk on Postgres', () => {
  it('lets 64 concurrent callers reserve to the last wei and no further, and book and log agree', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(1_000n, desk);
    const answers = await Promise.all(Array.from({ length: 64 }, async (_, caller) => {
      const own: SponsorAnswer[] = [];
      for (let n = 0; n < 5; n += 1) own.push(await desk.ask(sponsorId, reserve(`c${caller}-${n}`, 7n), ''));
      return own;
    }));
    const all = outcomes(answers.flat());
    expect(all.filter((outcome) => outcome === 'reserved')).toHaveLength(142);
    expect(all.filter((outcome) => outcome === 'BUDGET_EXCEEDED')).toHaveLength(320 - 142);
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 994n, spent: 0n, budget: 1_000n });
    expect(await folded(sponsorId)).toEqual(await book.find(sponsorId));
  });

  it('holds the budget over two processes of the service at once', async () => {
    const other = await open();
    try {
      const desks = [newDesk(), newDesk(other)];
      const sponsorId = await sponsorWith(500n);
      const answers = await Promise.all(Array.from({ length: 128 }, (_, i) => desks[i % 2]?.ask(sponsorId, reserve(`r${i}`, 10n), '')));
      expect(outcomes(answers.filter((answer) => answer !== undefined)).filter((outcome) => outcome === 'reserved')).toHaveLength(50);
      expect(await book.find(sponsorId)).toMatchObject({ reserved: 500n });
      expect(await folded(sponsorId)).toEqual(await book.find(sponsorId));
    } finally {
      await other.close();
    }
  });

  it('answers a repetition as recorded, and refuses a changed one, also of another caller in the same group', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(100n, desk);
    const first = await Promise.all([desk.ask(sponsorId, reserve('a', 60n), ''), desk.ask(sponsorId, reserve('a', 60n), ''), desk.ask(sponsorId, reserve('a', 61n), '')]);
    expect(outcomes(first)).toEqual(['reserved', 'reserved', 'RESERVATION_CHANGED']);
    expect(outcomes([await desk.ask(sponsorId, reserve('a', 60n), ''), await desk.ask(sponsorId, reserve('a', 60n, 'pay-z'), '')])).toEqual(['reserved', 'RESERVATION_CHANGED']);
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 60n });
  });

  it('reports a commit whose answer was lost as unknown, and the repetition finds it, counted once', async () => {
    const sponsorId = await sponsorWith(100n);
    // The window between COMMIT and its answer: the transaction stands, the caller hears nothing.
    const cutOff: PostgresEventStore = {
      ...bound(store),
      transact: async (partition, work) => {
        await store.transact(partition, work);
        throw new AppendOutcomeUnknown('the connection was lost during COMMIT');
      },
    };
    await expect(newDesk(cutOff).ask(sponsorId, reserve('a', 60n), '')).rejects.toMatchObject({ outcome: 'unknown' });
    expect(outcomes([await newDesk().ask(sponsorId, reserve('a', 60n), '')])).toEqual(['reserved']);
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 60n });
    expect(await folded(sponsorId)).toEqual(await book.find(sponsorId));
  });

  it('leaves nothing behind when the transaction fails before its COMMIT, and serves the next caller', async () => {
    const sponsorId = await sponsorWith(100n);
    let failing = true;
    const failingOnce: PostgresEventStore = {
      ...bound(store),
      transact: (partition, work) => store.transact(partition, async (tx) => {
        const result = await work(tx);
        if (failing) {
          failing = false;
          throw new Error('the process fails here');
        }
        return result;
      }),
    };
    const desk = newDesk(failingOnce);
    await expect(desk.ask(sponsorId, reserve('a', 60n), '')).rejects.toThrow('the process fails here');
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 0n });
    expect(outcomes([await desk.ask(sponsorId, reserve('b', 100n), '')])).toEqual(['reserved']);
    expect(await folded(sponsorId)).toEqual(await book.find(sponsorId));
  });

  it('commits something for an answer that found everything recorded', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(100n, desk);
    await desk.ask(sponsorId, reserve('a', 60n), '');
    const confirmations = async () => (await store.query<{ confirmations: bigint }>('SELECT confirmations FROM sponsor_budget WHERE sponsor_id = $1', [sponsorId]))[0]?.confirmations ?? 0n;
    const before = await confirmations();
    await desk.ask(sponsorId, reserve('a', 60n), '');
    expect(await confirmations()).toBe(before + 1n);
  });

  it('reserves, releases and commits in the order asked, within one group', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(100n, desk);
    const answers = await Promise.all([
      desk.ask(sponsorId, reserve('x', 1n), ''),
      desk.ask(sponsorId, reserve('a', 99n), ''),
      desk.ask(sponsorId, release('a'), ''),
      desk.ask(sponsorId, reserve('b', 99n), ''),
      desk.ask(sponsorId, commit('b', 40n), ''),
      desk.ask(sponsorId, release('b'), ''),
      desk.ask(sponsorId, release('nobody'), ''),
    ]);
    expect(answers.map((answer) => (answer.kind === 'set-budget' ? '' : answer.items[0]))).toMatchObject([
      { outcome: 'reserved' },
      { outcome: 'reserved' },
      { state: 'released' },
      { outcome: 'reserved' },
      { state: 'committed', cost: 40n },
      { state: 'committed', cost: 40n },
      { state: 'unknown' },
    ]);
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 1n, spent: 40n });
    expect(await folded(sponsorId)).toEqual(await book.find(sponsorId));
  });

  it('refuses an unknown sponsor and leaves no trace of it', async () => {
    expect(outcomes([await newDesk().ask('nobody' as SponsorId, reserve('a', 1n), '')])).toEqual(['UNKNOWN_SPONSOR']);
    expect(await store.query('SELECT 1 FROM sponsor_budget WHERE sponsor_id = $1', ['nobody'])).toEqual([]);
  });

  it('applies a budget change once, whatever came after it', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(100n, desk);
    await desk.ask(sponsorId, setBudget(500n, 'raise'), '');
    await desk.ask(sponsorId, setBudget(300n, 'lower'), '');
    expect(await desk.ask(sponsorId, setBudget(500n, 'raise'), '')).toMatchObject({ state: { budget: 300n } });
    await desk.ask(sponsorId, reserve('a', 250n), '');
    expect(await desk.ask(sponsorId, setBudget(249n, 'too low'), '')).toMatchObject({ rejection: { code: 'BUDGET_BELOW_COMMITMENTS' } });
  });

  it('opens configured sponsors once and never undoes a later change', async () => {
    const desk = newDesk();
    const configured = [{ id: 'configured' as SponsorId, budgetWei: wei(100n) }];
    await openConfiguredSponsors(configured, desk, book, log);
    await desk.ask('configured' as SponsorId, setBudget(900n, 'treasury'), '');
    await openConfiguredSponsors(configured, newDesk(), book, log);
    expect(await book.find('configured' as SponsorId)).toMatchObject({ budget: 900n });
  });

  it('is stopped by the database as well, should the decider ever be wrong (I8)', async () => {
    const sponsorId = await sponsorWith(100n);
    await expect(store.transact(0, (tx) => tx.query('UPDATE sponsor_budget SET reserved_wei = 101 WHERE sponsor_id = $1', [sponsorId]))).rejects.toThrow(/i8_never_more_than_the_budget/);
  });

  it('books final costs and expired intents of the relayer, each once', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(1_000n, desk);
    for (const id of ['p1', 'p2', 'p3', 'p4']) await desk.ask(sponsorId, reserve(id, 100n), '');
    const outcome = (reservationId: string, costWei: string) => ({
      intentId: `int-${reservationId}`, subjectId: reservationId, kind: IntentKind.INTENT_KIND_COLLECT, executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED,
      sponsorId, reservationId, costWei, payouts: [], executedByTransactionHash: '',
    });
    const event = (type: string, payload: Uint8Array): RecordedEvent => ({
      type, payload, schemaVersion: 1, source: 'relayer', partition: 0, position: 1n, eventId: '0-1', streamId: 't', streamVersion: 1n, commandId: 'c',
      recordedAtNs: systemClock.nowNs(), traceparent: '', region: 'test', epoch: 1n, hash: new Uint8Array(32),
    });
    const events = [
      event('TransactionFinalized', TransactionFinalized.encode({
        transactionId: 't', chainId, transactionHash: hash, blockNumber: 1n, blockHash: hash, gasUsed: 1n, gasPriceWei: '1', finalizedAtNs: 1n, attempt: 0, returnedIntentIds: [],
        outcomes: [outcome('p1', '30'), outcome('p2', '130'), outcome('ghost', '5'), { ...outcome('', '7') }],
      }).finish()),
      event('IntentExpired', IntentExpired.encode({ intentId: 'i', chainId, subjectId: 'p3', sponsorId, reservationId: 'p3', reason: IntentReason.INTENT_REASON_UNSPECIFIED, expiredAtNs: 1n, detail: '' }).finish()),
    ];
    const consumer = costConsumer(desk, log, metrics());
    await store.transact(0, (tx) => consumer.apply(tx, events));
    await store.transact(0, (tx) => consumer.apply(tx, events));
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 100n, spent: 160n, overrun: 0n });
    expect(await folded(sponsorId)).toEqual(await book.find(sponsorId));
    expect(odd).toEqual(['above_reservation', 'unknown_reservation', 'unknown_reservation']);
  });

  it('rebuilds a book that is missing or behind from the log, with every answer it knew', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(1_000n, desk);
    await desk.ask(sponsorId, reserve('a', 100n), '');
    await desk.ask(sponsorId, reserve('b', 200n), '');
    await desk.ask(sponsorId, commit('a', 80n), '');
    await desk.ask(sponsorId, release('b'), '');
    const before = await book.find(sponsorId);
    await store.transact(0, async (tx) => {
      for (const table of ['reservation', 'sponsor_budget', 'budget_change']) await tx.query(`DELETE FROM ${table} WHERE sponsor_id = $1`, [sponsorId]);
    });
    expect(await reconcileSponsorBook(store, store)).toEqual([sponsorId]);
    expect(await book.find(sponsorId)).toEqual(before);
    expect(outcomes([await newDesk().ask(sponsorId, reserve('a', 100n), '')])).toEqual(['reserved']);
    expect(await newDesk().ask(sponsorId, commit('a', 80n), '')).toMatchObject({ items: [{ state: 'committed', cost: 80n }] });
    expect(await newDesk().ask(sponsorId, setBudget(1_000n), '')).toMatchObject({ state: { budget: 1_000n } });
    expect(await reconcileSponsorBook(store, store)).toEqual([]);
  });

  it('refuses to start on a book that is ahead of its log', async () => {
    const sponsorId = await sponsorWith(10n);
    await store.transact(0, (tx) => tx.query('UPDATE sponsor_budget SET version = version + 1 WHERE sponsor_id = $1', [sponsorId]));
    await expect(reconcileSponsorBook(store, store)).rejects.toThrow(/ahead of its log/);
    await store.transact(0, (tx) => tx.query('UPDATE sponsor_budget SET version = version - 1 WHERE sponsor_id = $1', [sponsorId]));
  });

  it('measures ReserveMany', async () => {
    const desk = newDesk();
    const sponsorId = await sponsorWith(10n ** 24n, desk);
    const calls = 20;
    const startedMs = performance.now();
    for (let call = 0; call < calls; call += 1) {
      await desk.ask(sponsorId, { kind: 'reserve', items: Array.from({ length: 500 }, (_, i) => ({ reservationId: `m${call}-${i}` as ReservationId, chainId, subjectId: `pay-${i}`, amount: wei(10n ** 15n) })) }, '');
    }
    const seconds = (performance.now() - startedMs) / 1_000;
    process.stdout.write(`ReserveMany of 500: ${Math.round((seconds / calls) * 1_000)} ms a call, ${Math.round((calls * 500) / seconds)} reservations/s\n`);
    expect(await book.find(sponsorId)).toMatchObject({ reserved: 10n ** 15n * 500n * BigInt(calls) });
  });
});

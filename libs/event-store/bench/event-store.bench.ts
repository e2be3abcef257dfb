import { randomBytes } from 'node:crypto';
import { getPostgreSQLEventStore, postgreSQLEventStoreConsumer, type PostgresEventStore as EmmettStore } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';
import { systemClock } from '@settlement/config/system-ports';
import { startPostgres } from '@settlement/local-stack/postgres';
import { machine, percentile, ratiosOf, round, type BenchDocument, type BenchResult } from '@settlement/testing/bench';
import { advance } from '../src/consumer';
import type { EncodedEvent } from '../src/event';
import { EVENT_COLUMNS } from '../src/event-rows';
import { openEventStore, singleDatabase } from '../src/postgres-event-store';
import { runOwnConsumer } from '../src/runner';

export interface EventStoreBenchOptions {
  /** Of each subject in each round of each scenario. Default 2. */
  readonly seconds?: number;
  /** Default 3, interleaved A B C A B C, so that a slow moment of the machine meets all subjects. */
  readonly rounds?: number;
}

/** One thing under comparison. */
interface Subject {
  readonly name: string;
  /** Opens what `callers` concurrent callers need; a connection pool is as large as the subject makes best use of. */
  open(callers: number): Promise<void>;
  append(streamId: string): Promise<void>;
  appendBatch(streamIds: readonly string[]): Promise<void>;
  /** Delivers every stored event to a consumer that remembers where it stands; answers how many, and in what time. */
  deliver(consumer: string): Promise<Delivered>;
  close(): Promise<void>;
}

interface Delivered {
  readonly count: number;
  readonly elapsedMs: number;
}

const BATCH = 100;
const DELIVERY_BATCH = 500;
/** About what a payment event weighs: ids, addresses, a signature. */
const PAYLOAD = randomBytes(300);
let next = 0;
const newId = (prefix: string): string => `${prefix}-${process.pid.toString(36)}${(next += 1).toString(36).padStart(8, '0')}`;
const event = (): EncodedEvent => ({ type: 'PaymentAccepted', schemaVersion: 1, payload: PAYLOAD, amountMinor: 1_250_000n, token: 'USDC', subjectId: newId('pay') });

/** Single and batched appends and feed delivery, beside emmett and raw inserts of the same rows, on one Postgres with fsync. */
export async function runEventStoreBench(options: EventStoreBenchOptions): Promise<BenchDocument> {
  const server = await startPostgres({ databases: ['ours', 'emmett', 'raw'] });
  const say = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  const subjects = [ours(server.urlFor('ours')), emmett(server.urlFor('emmett')), raw(server.urlFor('raw'))];
  const seconds = options.seconds ?? 2;
  const rounds = options.rounds ?? 3;
  const results: BenchResult[] = [];
  try {
    for (const callers of [1, 32, 64]) {
      results.push(...(await compare(subjects, callers, `append ${callers} caller${callers === 1 ? '' : 's'}`, rounds, seconds, 1, (s) => s.append(newId('payment')))));
      say(`append, ${callers} callers: ${results.slice(-3).map((r) => `${r.subject} ${r.perSecond}/s`).join(', ')}`);
    }
    const streams = (): string[] => Array.from({ length: BATCH }, () => newId('payment'));
    results.push(...(await compare(subjects, 4, `append batch of ${BATCH}`, rounds, seconds, BATCH, (s) => s.appendBatch(streams()))));
    say(`batches: ${results.slice(-3).map((r) => `${r.subject} ${r.perSecond}/s`).join(', ')}`);
    results.push(...(await compareDelivery(subjects, rounds)));
  } finally {
    await server.stop();
  }
  return { bench: 'event-store', machine: machine(), results, ratios: ratiosOf(results, 'perSecond') };
}

async function compare(subjects: readonly Subject[], callers: number, scenario: string, rounds: number, seconds: number, weight: number, one: (subject: Subject) => Promise<void>): Promise<BenchResult[]> {
  const samples = new Map(subjects.map((s) => [s.name, { latenciesMs: [] as number[], rates: [] as number[] }]));
  for (const subject of subjects) {
    await subject.open(callers);
    await load(callers, 0.3, () => one(subject));
  }
  for (let i = 0; i < rounds; i += 1) {
    for (const subject of subjects) {
      const { latenciesMs, elapsedMs } = await load(callers, seconds, () => one(subject));
      samples.get(subject.name)?.latenciesMs.push(...latenciesMs);
      samples.get(subject.name)?.rates.push((latenciesMs.length * weight * 1000) / elapsedMs);
    }
  }
  for (const subject of subjects) await subject.close();
  return [...samples].map(([subject, { latenciesMs, rates }]) => ({
    subject,
    scenario,
    perSecond: round(mean(rates), 0),
    perSecondMin: round(Math.min(...rates), 0),
    perSecondMax: round(Math.max(...rates), 0),
    p50Ms: round(percentile(latenciesMs, 50), 3),
    p99Ms: round(percentile(latenciesMs, 99), 3),
  }));
}

/** Closed loop: each caller sends its next append when the last one is answered. */
async function load(callers: number, seconds: number, one: () => Promise<void>): Promise<{ latenciesMs: number[]; elapsedMs: number }> {
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < endMs) {
        const fromMs = performance.now();
        await one();
        latenciesMs.push(performance.now() - fromMs);
      }
    }),
  );
  return { latenciesMs, elapsedMs: performance.now() - startMs };
}

async function compareDelivery(subjects: readonly Subject[], rounds: number): Promise<BenchResult[]> {
  const rates = new Map(subjects.map((s) => [s.name, [] as number[]]));
  const delivered = new Map<string, number>();
  for (let i = 0; i < rounds; i += 1) {
    for (const subject of subjects) {
      await subject.open(4);
      const { count, elapsedMs } = await subject.deliver(`bench-${i}`);
      rates.get(subject.name)?.push((count * 1000) / elapsedMs);
      delivered.set(subject.name, count);
      process.stderr.write(`delivery, round ${i + 1}: ${subject.name} ${count} events in ${round(elapsedMs, 0)} ms\n`);
      await subject.close();
    }
  }
  return [...rates].map(([subject, each]) => ({ subject, scenario: 'feed delivery', perSecond: round(mean(each), 0), events: delivered.get(subject) ?? 0 }));
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / Math.max(1, values.length);

function ours(url: string): Subject {
  let store: Awaited<ReturnType<typeof openEventStore>> | undefined;
  const opened = () => {
    if (store === undefined) throw new Error('not open');
    return store;
  };
  return {
    name: 'ours',
    async open() {
      store = await openEventStore({ source: 'bench', partitionMap: singleDatabase(url), region: 'local', epoch: 1n, clock: systemClock });
    },
    async append(streamId) {
      const { outcome } = await opened().append({ streamId, commandId: newId('command'), expectedVersion: 'must-not-exist', events: [event()] });
      if (outcome !== 'appended') throw new Error(outcome);
    },
    async appendBatch(streamIds) {
      await opened().appendMany(streamIds.map((streamId) => ({ streamId, commandId: newId('command'), expectedVersion: 'must-not-exist', events: [event()] })));
    },
    async deliver(consumer) {
      let count = 0;
      const startMs = performance.now();
      const running = runOwnConsumer({
        store: opened(),
        clock: systemClock,
        consumer,
        batchSizeMax: DELIVERY_BATCH,
        async handle(partition, events) {
          await advance({ store: opened(), consumer, source: 'bench', partition, events, effect: async (_tx, fresh) => void (count += fresh.length) });
        },
      });
      await running.caughtUp();
      const elapsedMs = performance.now() - startMs;
      await running.stop();
      return { count, elapsedMs };
    },
    async close() {
      await store?.close();
      store = undefined;
    },
  };
}

/** emmett's processor leaves a connection open without an error listener: when the server stops, that would end the bench. */
function tolerateForgottenConnections(): void {
  const connect = Object.getOwnPropertyDescriptor(pg.Client.prototype, 'connect')?.value as (this: pg.Client, ...args: unknown[]) => unknown;
  Object.defineProperty(pg.Client.prototype, 'connect', {
    configurable: true,
    writable: true,
    value(this: pg.Client, ...args: unknown[]) {
      if (this.listenerCount('error') === 0) this.on('error', (error) => process.stderr.write(`a forgotten connection: ${error.message}\n`));
      return connect.apply(this, args);
    },
  });
}

function emmett(url: string): Subject {
  tolerateForgottenConnections();
  let store: EmmettStore | undefined;
  const opened = () => {
    if (store === undefined) throw new Error('not open');
    return store;
  };
  const emmettEvent = () => ({ type: 'PaymentAccepted', data: { payload: PAYLOAD.toString('base64'), amountMinor: '1250000', token: 'USDC', subjectId: newId('pay') } });
  let pool: pg.Pool | undefined;
  return {
    name: 'emmett-postgresql 0.42.0',
    async open(callers) {
      pool = new pg.Pool({ connectionString: url, max: Math.max(2, callers) });
      // A connection that is left open when the server stops says so here, and must not end the bench.
      pool.on('error', (error) => process.stderr.write(`emmett: ${error.message}\n`));
      store = getPostgreSQLEventStore(url, { connectionOptions: { pool } });
      await store.schema.migrate();
    },
    async append(streamId) {
      await opened().appendToStream(streamId, [emmettEvent()], { expectedStreamVersion: 'STREAM_DOES_NOT_EXIST' });
    },
    async appendBatch(streamIds) {
      // emmett has no append to many streams: its batch is many events of one stream.
      const [streamId = ''] = streamIds;
      await opened().appendToStream(streamId, streamIds.map(emmettEvent));
    },
    async deliver(consumer) {
      let count = 0;
      const startMs = performance.now();
      let lastMs = startMs;
      const reading = postgreSQLEventStoreConsumer({ connectionString: url, pulling: { batchSize: DELIVERY_BATCH, pullingFrequencyInMs: 1 } });
      reading.reactor({
        processorId: consumer,
        connectionOptions: { connectionString: url },
        startFrom: 'BEGINNING',
        eachMessage: () => {
          count += 1;
          lastMs = performance.now();
        },
      });
      let failure: Error | undefined;
      const running = reading.start().catch((error: unknown) => (failure = error instanceof Error ? error : new Error(String(error))));
      // It does not say when it has caught up: half a second without a message ends the measurement and does not count, and ten
      // seconds are enough for a rate.
      for (let before = -1; (before !== count || count === 0) && performance.now() - startMs < 10_000; ) {
        before = count;
        await systemClock.sleep(500);
        if (failure !== undefined) throw failure;
      }
      const delivered = { count, elapsedMs: lastMs - startMs };
      await Promise.race([reading.stop().then(() => running), systemClock.sleep(2_000)]);
      await Promise.race([reading.close(), systemClock.sleep(2_000)]);
      return delivered;
    },
    async close() {
      await store?.close();
      if (pool !== undefined && !pool.ended) await pool.end();
      store = undefined;
    },
  };
}

/** The same rows into a table with the same columns and indexes, one a transaction, by a plain pool and a prepared statement. */
function raw(url: string): Subject {
  let pool: pg.Pool | undefined;
  const opened = () => {
    if (pool === undefined) throw new Error('not open');
    return pool;
  };
  const columns = EVENT_COLUMNS.split(',').length;
  const placeholders = (from: number): string => `(${Array.from({ length: columns }, (_, i) => `$${from + i}`).join(',')})`;
  const row = (streamId: string): unknown[] => [
    next % 4, (next += 1), streamId, 1, 'PaymentAccepted', 1, PAYLOAD, '1250000', 'USDC', newId('pay'), newId('command'), 0, 1, systemClock.nowNs(), '', 'local', 1, randomBytes(32),
  ];
  const one = { name: 'one', text: `INSERT INTO event_store.event (${EVENT_COLUMNS}) VALUES ${placeholders(1)}` };
  const many = { name: 'many', text: `INSERT INTO event_store.event (${EVENT_COLUMNS}) VALUES ${Array.from({ length: BATCH }, (_, i) => placeholders(1 + i * columns)).join(',')}` };
  return {
    name: 'raw inserts',
    async open(callers) {
      const store = await openEventStore({ source: 'raw', partitionMap: singleDatabase(url), region: 'local', epoch: 1n, clock: systemClock });
      await store.close();
      pool = new pg.Pool({ connectionString: url, max: callers });
    },
    async append(streamId) {
      await opened().query({ ...one, values: row(streamId) });
    },
    async appendBatch(streamIds) {
      await opened().query({ ...many, values: streamIds.flatMap(row) });
    },
    async deliver() {
      let count = 0;
      const startMs = performance.now();
      await Promise.all(
        [0, 1, 2, 3].map(async (partition) => {
          for (let after = '0'; ; ) {
            const { rows } = await opened().query<{ position: string }>(`SELECT ${EVENT_COLUMNS} FROM event_store.event WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3`, [partition, after, DELIVERY_BATCH]);
            const last = rows.at(-1);
            if (last === undefined) return;
            count += rows.length;
            after = last.position;
          }
        }),
      );
      return { count, elapsedMs: performance.now() - startMs };
    },
    async close() {
      await pool?.end();
      pool = undefined;
    },
  };
}

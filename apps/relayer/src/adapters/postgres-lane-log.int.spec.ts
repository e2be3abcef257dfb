import { systemClock } from '@settlement/config/system-ports';
import { migrate } from '@settlement/event-store/migrate';
import type { Append } from '@settlement/event-store/port';
import { openEventStore, type PartitionMap, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FenceLost, type Fence, type PlanRecord } from '../ports/lane-log';
import type { Lease } from '../ports/lane-leases';
import { relayerCodec } from '../relayer.codec';
import { transactionIdOf, transactionStreamOf } from '../transaction/transaction.decider';
import { claim, noteDoubt } from './intent-claims';
import { laneDatabases } from './lane-databases';
import { RELAYER_MIGRATIONS } from './migrations';
import { PostgresLaneLeases } from './postgres-lane-leases';
import { PostgresLaneLog } from './postgres-lane-log';

const LEASE_MS = 800;
const CHAIN = 'eip155:1';
let postgres: LocalPostgres;
let world: { readonly store: PostgresEventStore; readonly log: PostgresLaneLog; readonly leases: PostgresLaneLeases; readonly urls: readonly string[] }[] = [];
let keys = 0;

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['one', 'left', 'right'] });
  const [one, left, right] = ['one', 'left', 'right'].map((name) => postgres.urlFor(name));
  if (one === undefined || left === undefined || right === undefined) throw new RangeError('a database is missing');
  world = [
    await open([{ url: one, partitions: [0, 1, 2, 3] }]),
    await open([
      { url: left, partitions: [0, 1] },
      { url: right, partitions: [2, 3] },
    ]),
  ];
});

afterAll(async () => {
  for (const { store } of world) await store.close();
  await postgres?.stop();
});

async function open(partitionMap: PartitionMap): Promise<(typeof world)[number]> {
  const store = await openEventStore({ source: 'relayer', partitionMap, region: 'local', epoch: 1n, clock: systemClock });
  for (const { url } of partitionMap) await migrate(url, 'relayer', RELAYER_MIGRATIONS);
  const databases = laneDatabases(store, partitionMap);
  const log = new PostgresLaneLog({ store, databases, leaseMs: LEASE_MS, clock: systemClock, signal: new AbortController().signal, repeating: () => undefined });
  return { store, log, leases: new PostgresLaneLeases({ store, databases, clock: systemClock, leaseMs: LEASE_MS }), urls: partitionMap.map(({ url }) => url) };
}

/** A key of its own for each test. */
function freshKey(): string {
  keys += 1;
  return `0x${keys.toString(16).padStart(40, '0')}`;
}

const laneOf = (key: string): string => `${CHAIN}-${key}`;
const fenceOf = (lease: Lease): Fence => ({ laneId: lease.laneId, fencingToken: lease.fencingToken });

async function acquired(leases: PostgresLaneLeases, key: string, owner: string): Promise<Lease> {
  const lease = await leases.acquire(laneOf(key), owner);
  if (lease === undefined) throw new Error(`${owner} was refused`);
  return lease;
}

function plan(key: string, nonce: bigint, intentIds: readonly string[]): PlanRecord {
  const transactionId = transactionIdOf(CHAIN, key, nonce);
  const event = relayerCodec.encode({ type: 'TransactionPlanned', transactionId, chainId: CHAIN, keyAddress: key, nonce, to: key, data: '0x', gasLimit: 1n, intentIds: [...intentIds], plannedAtNs: 1n, fencingToken: 1n, purpose: TransactionPurpose.TRANSACTION_PURPOSE_EXECUTE, valueWei: '' });
  return { transactionId, intentIds, append: { streamId: transactionStreamOf(CHAIN, key, nonce), expectedVersion: 'must-not-exist', commandId: `plan-${transactionId}`, events: [event] } };
}

const given = (key: string, nonce: bigint): Append => ({
  streamId: transactionStreamOf(CHAIN, key, nonce),
  expectedVersion: 1n,
  commandId: `back-${nonce}`,
  events: [relayerCodec.encode({ type: 'TransactionDisplaced', transactionId: transactionIdOf(CHAIN, key, nonce), chainId: CHAIN, foreignTransactionHash: '', blockNumber: 1n, blockHash: '', returnedIntentIds: [], displacedAtNs: 1n })],
});

async function claimsOf(urls: readonly string[], intentIds: readonly string[]): Promise<readonly string[]> {
  const all: string[] = [];
  for (const url of urls) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    all.push(...(await client.query<{ transaction_id: string }>('SELECT transaction_id FROM relayer.intent_claim WHERE intent_id = ANY ($1)', [intentIds])).rows.map((row) => row.transaction_id));
    await client.end();
  }
  return all;
}

const past = (lease: Lease): Promise<void> => systemClock.sleep(lease.validUntilMs - systemClock.monotonicMs() + 50);

describe.each([
  ['one database', 0],
  ['partitions spread over two databases', 1],
] as const)('a lane\'s lease and its records on %s', (_, at) => {
  const here = () => {
    const it = world[at];
    if (it === undefined) throw new Error('not open');
    return it;
  };

  it('is one owner\'s until it runs out by the database\'s clock; each acquisition has a higher token', async () => {
    const { leases } = here();
    const key = freshKey();
    const a = await acquired(leases, key, 'a');
    expect(await leases.acquire(laneOf(key), 'b')).toBeUndefined();
    const renewed = await leases.renew(a, 'a');
    expect(renewed?.validUntilMs).toBeGreaterThan(a.validUntilMs);
    await past(renewed ?? a);
    const b = await acquired(leases, key, 'b');
    expect(b.fencingToken).toBe(a.fencingToken + 1n);
    expect(await leases.renew(a, 'a')).toBeUndefined();
    await leases.release(a, 'a');
    expect((await leases.list()).find((row) => row.laneId === laneOf(key))).toMatchObject({ owner: 'b', expired: false });
    await leases.release(b, 'b');
    expect((await acquired(leases, key, 'a')).fencingToken).toBe(b.fencingToken + 1n);
  });

  it('refuses every record of an owner that has been replaced, and leaves nothing of it behind', async () => {
    const { leases, log, store, urls } = here();
    const key = freshKey();
    const old = await acquired(leases, key, 'a');
    await log.plan(fenceOf(old), [plan(key, 0n, [`${key}-x`])]);
    await past(old);
    const young = await acquired(leases, key, 'b');
    // Over several nonces, so that both databases are written to.
    for (let nonce = 1n; nonce < 6n; nonce += 1n) {
      await expect(log.plan(fenceOf(old), [plan(key, nonce, [`${key}-${nonce}`])])).rejects.toBeInstanceOf(FenceLost);
      expect(await store.readStream(transactionStreamOf(CHAIN, key, nonce))).toEqual([]);
    }
    expect(await claimsOf(urls, ['1', '2', '3', '4', '5'].map((nonce) => `${key}-${nonce}`))).toEqual([]);
    await expect(log.append(fenceOf(old), [given(key, 0n)])).rejects.toBeInstanceOf(FenceLost);
    await expect(log.giveBack(fenceOf(old), given(key, 0n), transactionIdOf(CHAIN, key, 0n), [`${key}-x`])).rejects.toBeInstanceOf(FenceLost);
    expect(await claimsOf(urls, [`${key}-x`])).toHaveLength(1);
    expect(await log.plan(fenceOf(young), [plan(key, 1n, [`${key}-y`])])).toEqual({ recorded: 1, claimed: [] });
  });

  it('answers which intents another lane has claimed, and leaves the plan out; given back, they may be claimed again (I2)', async () => {
    const { leases, log, store } = here();
    const [mine, other] = [freshKey(), freshKey()];
    const [a, b] = [fenceOf(await acquired(leases, mine, 'a')), fenceOf(await acquired(leases, other, 'b'))];
    const x = `${mine}-x`;
    expect(await log.plan(a, [plan(mine, 0n, [x])])).toEqual({ recorded: 1, claimed: [] });
    // Whatever database the second plan lies in.
    for (let nonce = 0n; nonce < 4n; nonce += 1n) {
      expect(await log.plan(b, [plan(other, nonce, [x, `${mine}-y`])])).toEqual({ recorded: 0, claimed: [x] });
      expect(await store.readStream(transactionStreamOf(CHAIN, other, nonce))).toEqual([]);
    }
    // What ends without a transaction is claimed like that.
    expect(await log.giveUp(b, [{ intentId: x, append: { ...given(other, 9n), streamId: `intent-${x}`, expectedVersion: 'any', commandId: 'expire' } }])).toEqual([x]);
    await log.giveBack(a, given(mine, 0n), transactionIdOf(CHAIN, mine, 0n), [x]);
    expect(await log.plan(b, [plan(other, 0n, [x, `${mine}-y`])])).toEqual({ recorded: 1, claimed: [] });
  });

  it('settles what a crash has left between the commits of two databases: claims without a plan go, claims of a plan stay', async () => {
    const { leases, log, store, urls } = here();
    if (urls.length === 1) return;
    const key = freshKey();
    const lease = await acquired(leases, key, 'a');
    // One that lies elsewhere than the plan of nonce 0 and one that does not: both commits are needed.
    const side = (streamId: string): number => (store.partitionOf(streamId) < 2 ? 0 : 1);
    const far = Array.from({ length: 50 }, (_, i) => `${key}-${i}`).find((intentId) => side(`intent-${intentId}`) !== side(transactionStreamOf(CHAIN, key, 0n))) ?? '';
    const farther = Array.from({ length: 50 }, (_, i) => `${key}-b${i}`).find((intentId) => side(`intent-${intentId}`) !== side(transactionStreamOf(CHAIN, key, 1n))) ?? '';
    expect(await log.plan(fenceOf(lease), [plan(key, 0n, [far])])).toMatchObject({ recorded: 1 });
    // As after a crash between the claim and its plan.
    await store.transact(store.partitionOf(`intent-${farther}`), async (tx) => {
      const claims = [{ intentId: farther, holder: transactionIdOf(CHAIN, key, 1n) }];
      await noteDoubt(tx, laneOf(key), claims);
      await claim(tx, claims);
    });
    await store.transact(store.partitionOf(`intent-${far}`), (tx) => noteDoubt(tx, laneOf(key), [{ intentId: far, holder: transactionIdOf(CHAIN, key, 0n) }]));
    await past(lease);
    const young = await acquired(leases, key, 'b');
    expect(await claimsOf(urls, [far, farther])).toEqual([transactionIdOf(CHAIN, key, 0n)]);
    expect(await log.plan(fenceOf(young), [plan(key, 2n, [farther])])).toMatchObject({ recorded: 1 });
  });

  it('cuts off an owner that stands still between the check of its fence and its commit, so that its lane moves all the same', async () => {
    const { leases, urls } = here();
    const key = freshKey();
    const lease = await acquired(leases, key, 'a');
    // What a record does first, and then nothing more: as a process that is stopped there.
    const stopped = await Promise.all(
      urls.map(async (connectionString) => {
        const client = new pg.Client({ connectionString });
        client.on('error', () => undefined);
        await client.connect();
        await client.query('BEGIN');
        await client.query("SELECT set_config('idle_in_transaction_session_timeout', $2, true) FROM relayer.lane_fence WHERE lane_id = $1 FOR SHARE", [laneOf(key), String(LEASE_MS)]);
        return client;
      }),
    );
    await past(lease);
    const young = await acquired(leases, key, 'b');
    expect(young.fencingToken).toBe(lease.fencingToken + 1n);
    for (const client of stopped) await expect(client.query('COMMIT')).rejects.toThrow();
  });
});

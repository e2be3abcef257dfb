import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, until } from '../test/in-process';
import { bundleRelayer, startRelayerProcess, type RelayerProcess, type RelayerProgram } from '../test/relayer-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';
import type { RelayerEvent } from './relayer.events';

const LEASE_MS = 2_000;
const KEYS = 4;
const PAYERS = 40;
const DATABASES = ['relayer_shared', 'relayer_killed', 'relayer_paused', 'relayer_leaves'];

let world: RelayerWorld;
let program: RelayerProgram;
let processes: RelayerProcess[] = [];

beforeAll(async () => {
  world = await startWorld({ databases: DATABASES, payers: PAYERS, blockTimeMs: 500, furtherKeys: KEYS - 1 });
  program = bundleRelayer();
});

afterEach(async () => {
  for (const running of processes) {
    running.kill('SIGKILL');
    await running.ended;
    await running.closeClient();
  }
  processes = [];
});

afterAll(async () => {
  program?.remove();
  await world?.stop();
});

async function start(database: string, instance: string): Promise<RelayerProcess> {
  const running = await startRelayerProcess(program, {
    ...world.environment(database),
    INSTANCE_ID: instance,
    LANE_LEASE_MS: String(LEASE_MS),
    COLLECT_ITEMS_MAX: '5',
    COLLECT_WAIT_MS: '50',
  });
  processes.push(running);
  await until(`${instance} is ready`, () => running.ready()).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${running.output()}`);
  });
  return running;
}

interface LeaseNow {
  readonly lane_id: string;
  readonly owner: string;
  readonly fencing_token: string;
}

async function leases(database: string): Promise<readonly LeaseNow[]> {
  const client = new pg.Client({ connectionString: world.postgres.urlFor(database) });
  await client.connect();
  try {
    return (await client.query<LeaseNow>('SELECT lane_id, owner, fencing_token FROM relayer.lane_lease WHERE expires_at > clock_timestamp()')).rows;
  } finally {
    await client.end();
  }
}

const countOf = (rows: readonly LeaseNow[], owner: string): number => rows.filter((row) => row.owner === owner).length;
const some = (count: number): SubmitRequest[] => Array.from({ length: count }, (_, i) => world.collect({ payer: i, merchant: 1 + (i % 3) }));

async function allFinal(running: RelayerProcess, requests: readonly SubmitRequest[]): Promise<void> {
  const intentIds = requests.map(({ intentId }) => intentId);
  let last = '';
  await until('every intent is final', async () => {
    const { items } = await running.client.getIntents({ intentIds });
    last = JSON.stringify(Object.groupBy(items, ({ state }) => IntentState[state] ?? 'none'), (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)).slice(0, 2_000);
    return items.every(({ state }) => state === IntentState.INTENT_STATE_FINAL);
  }, 25_000).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${last}\n${processes.map((it) => it.output().slice(-8_000)).join('\n=====\n')}`);
  });
}

/** What the chain holds of our keys: `<key>-<nonce>` to the mined transaction's hash. */
async function minedOf(keys: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const head = Number(await world.rpc.call('eth_blockNumber', []));
  const mined = new Map<string, string>();
  for (let number = 0; number <= head; number += 1) {
    const block = (await world.rpc.call('eth_getBlockByNumber', [`0x${number.toString(16)}`, true])) as { readonly transactions: readonly { readonly from: string; readonly nonce: string; readonly hash: string }[] };
    for (const { from, nonce, hash } of block.transactions) if (keys.has(from)) mined.set(`${from}-${BigInt(nonce)}`, hash);
  }
  return mined;
}

/**
 * From the log and the chain: every intent executed once (I2); each (key, nonce) planned once, with its own intents in every
 * attempt, and what was mined under it is one of its recorded signatures (I5).
 */
async function assertOnce(database: string, requests: readonly SubmitRequest[]): Promise<readonly RelayerEvent[]> {
  const events = (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
  const executed = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes : [])).filter((outcome) => outcome.executed).map((outcome) => outcome.intentId);
  expect(executed.toSorted()).toEqual(requests.map(({ intentId }) => intentId).toSorted());

  const plans = new Map<string, Extract<RelayerEvent, { type: 'TransactionPlanned' }>>();
  for (const event of events) if (event.type === 'TransactionPlanned') plans.set(`${event.keyAddress}-${event.nonce}`, event);
  expect(plans.size).toBe(events.filter(({ type }) => type === 'TransactionPlanned').length);
  const signatures = new Map<string, string[]>();
  for (const event of events) {
    if (event.type !== 'TransactionSigned') continue;
    const attempt = `${event.transactionId}#${event.attempt}`;
    signatures.set(attempt, [...(signatures.get(attempt) ?? []), event.transactionHash]);
  }
  // One signature an attempt, whoever made it.
  expect([...signatures.values()].filter((hashes) => hashes.length !== 1)).toEqual([]);

  const mined = await minedOf(new Set([...plans.values()].map(({ keyAddress }) => keyAddress)));
  const recorded = new Set([...signatures.values()].flat());
  const foreign = [...mined].filter(([at, hash]) => plans.has(at) && !recorded.has(hash));
  expect(foreign).toEqual([]);
  return events;
}

/** Tokens of one lane's plans never go back: no older owner has planned behind a younger one. */
function assertTokensGrow(events: readonly RelayerEvent[]): void {
  const plans = events.flatMap((event) => (event.type === 'TransactionPlanned' ? [event] : []));
  for (const key of new Set(plans.map(({ keyAddress }) => keyAddress))) {
    const tokens = plans.filter(({ keyAddress }) => keyAddress === key).toSorted((a, b) => Number(a.nonce - b.nonce)).map(({ fencingToken }) => fencingToken);
    expect(tokens).toEqual(tokens.toSorted((a, b) => Number(a - b)));
  }
}

/** As `npm run lanes -- …`. */
function lanesCommand(...args: string[]): Promise<{ readonly code: number | null; readonly out: string; readonly error: string }> {
  const child = spawn(process.execPath, [join(repositoryRoot, 'tools/run.mjs'), 'lanes', ...args], { cwd: repositoryRoot });
  let out = '';
  let error = '';
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (error += text.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, error })));
}

describe('two relayers on one log', () => {
  it('share the lanes evenly and execute each intent once, whichever takes it', async () => {
    const [a, b] = [await start('relayer_shared', 'a'), await start('relayer_shared', 'b')];
    await until('each holds two lanes', async () => {
      const rows = await leases('relayer_shared');
      return countOf(rows, 'a') === 2 && countOf(rows, 'b') === 2;
    });
    // Either process shows all lanes, also those of the other.
    const shown = await lanesCommand('--address', b.grpcAddress);
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.out.split('\n')[0]).toContain('nonce log/chain');
    for (const address of world.keyAddresses) expect(shown.out).toMatch(new RegExp(`${address} +active +[ab] `));
    expect(await lanesCommand('reinstate', world.relayer, '--address', a.grpcAddress)).toMatchObject({ code: 1, error: expect.stringContaining('is quarantined') as string });
    const requests = some(60);
    await a.client.submitMany({ items: requests.slice(0, 30) });
    await b.client.submitMany({ items: requests.slice(30) });
    // The one that did not execute an intent answers for it as well, when it is done and not later.
    const { items } = await a.client.awaitIntents({ intentIds: requests.map(({ intentId }) => intentId), state: IntentState.INTENT_STATE_INCLUDED, timeoutMs: 20_000 });
    expect(items.every(({ state }) => state === IntentState.INTENT_STATE_INCLUDED || state === IntentState.INTENT_STATE_FINAL)).toBe(true);
    expect(items.every(({ transactionHash }) => transactionHash.startsWith('0x'))).toBe(true);
    await allFinal(b, requests);
    const events = await assertOnce('relayer_shared', requests);
    const owners = new Map<string, string>();
    for (const event of events) if (event.type === 'LaneAcquired') owners.set(`${event.keyAddress}-${event.fencingToken}`, event.owner);
    const planners = new Set(events.flatMap((event) => (event.type === 'TransactionPlanned' ? [owners.get(`${event.keyAddress}-${event.fencingToken}`)] : [])));
    expect([...planners].toSorted()).toEqual(['a', 'b']);
  });

  it('the lanes of one that is killed go to the other within the lease time', async () => {
    const [a, b] = [await start('relayer_killed', 'a'), await start('relayer_killed', 'b')];
    await until('each holds two lanes', async () => countOf(await leases('relayer_killed'), 'b') === 2);
    const requests = some(30);
    await b.client.submitMany({ items: requests });
    const killedAt = performance.now();
    a.kill('SIGKILL');
    await a.ended;
    await until('the other holds all lanes', async () => countOf(await leases('relayer_killed'), 'b') === KEYS);
    const movedMs = performance.now() - killedAt;
    // A second for looking, and for a machine that does other things.
    expect(movedMs).toBeLessThan(LEASE_MS + 1_000);
    console.log(`lanes of a killed process moved after ${Math.round(movedMs)} ms, lease ${LEASE_MS} ms`);
    await allFinal(b, requests);
    assertTokensGrow(await assertOnce('relayer_killed', requests));
  });

  it('an owner that is stopped in mid-flow and wakes up after its lease has gone writes nothing (xmtpd 1420: replicas fighting over nonces)', async () => {
    const [a, b] = [await start('relayer_paused', 'a'), await start('relayer_paused', 'b')];
    await until('each holds two lanes', async () => countOf(await leases('relayer_paused'), 'b') === 2);
    const all: SubmitRequest[] = [];
    const submit = async (to: RelayerProcess): Promise<void> => {
      const requests = some(20);
      all.push(...requests);
      await to.client.submitMany({ items: requests });
    };
    for (const [paused, other, name] of [[a, b, 'b'], [b, a, 'a'], [a, b, 'b']] as const) {
      await submit(paused);
      await submit(other);
      // In the middle of whatever it does with them.
      await new Promise((resolve) => setTimeout(resolve, 60 + Math.random() * 200));
      paused.kill('SIGSTOP');
      await submit(other);
      await until(`${name} holds all lanes`, async () => countOf(await leases('relayer_paused'), name) === KEYS);
      await submit(other);
      paused.kill('SIGCONT');
      await until('the lanes are shared again', async () => countOf(await leases('relayer_paused'), name) === KEYS / 2);
    }
    await allFinal(a, all);
    await allFinal(b, all);
    assertTokensGrow(await assertOnce('relayer_paused', all));
  }, 90_000);

  it('one that stops in order gives its lanes back at once', async () => {
    const [a, b] = [await start('relayer_leaves', 'a'), await start('relayer_leaves', 'b')];
    await until('each holds two lanes', async () => countOf(await leases('relayer_leaves'), 'b') === 2);
    const before = await leases('relayer_leaves');
    const requests = some(10);
    await a.client.submitMany({ items: requests });
    a.kill('SIGTERM');
    expect(await a.ended).toEqual({ code: 0, signal: null });
    const events = (await readAll(world.postgres.urlFor('relayer_leaves'))).map(({ event }) => event);
    const releasedKeys = events.flatMap((event) => (event.type === 'LaneReleased' && event.owner === 'a' ? [`${event.chainId}-${event.keyAddress}`] : []));
    expect(releasedKeys).toEqual(expect.arrayContaining(before.filter(({ owner }) => owner === 'a').map((row) => row.lane_id)));
    await until('the other holds all lanes', async () => countOf(await leases('relayer_leaves'), 'b') === KEYS, LEASE_MS);
    await allFinal(b, requests);
    await assertOnce('relayer_leaves', requests);
  });
});

import { readFileSync } from 'node:fs';
import { jsonRpc } from '@settlement/chain/rpc';
import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { faultPlans, printPlans, type FaultPlan } from '@settlement/testing/rpc-proxy/fault-plan';
import { DropAnswerAfterBroadcast, HalfOpenSocket, LyingNonce, LyingReceipts, MissingReceipts, SilenceAfterBroadcast, StaleHead, TooManyRequests, type Fault } from '@settlement/testing/rpc-proxy/faults';
import { startRpcProxy, type RpcProxy } from '@settlement/testing/rpc-proxy/rpc-proxy';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';

/** Seeds that failed once: replayed for ever. A person adds what a longer run finds. */
const KEPT = JSON.parse(readFileSync(new URL('rpc-fault-seeds.json', import.meta.url), 'utf8')) as { readonly seeds: readonly number[] };
/** `SEEDS=100-140 npx vitest run --project int apps/relayer/src/rpc-faults.int.spec.ts` looks further. */
const FRESH = seedsOf(process.env['SEEDS'] ?? '1,2,6-8,15');
const ENDPOINTS = 3;
const INTENTS = 30;
/** An endpoint's requests after which its plan is over. */
const FAULTY_REQUESTS = 120;

function seedsOf(text: string): readonly number[] {
  return text.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

const seeds = [...new Set([...KEPT.seeds, ...FRESH])];
const NAMED = ['rundler_813', 'rundler_296', 'x402_timeout', 'x402_silence', 'private_first', 'one_down', 'single'];

let world: RelayerWorld;
let running: RunningRelayer | undefined;
let proxies: RpcProxy[] = [];

beforeAll(async () => {
  world = await startWorld({ databases: [...seeds.map((seed) => `seed_${seed}`), ...NAMED], payers: 40, blockTimeMs: 250, finalityDepth: 2 });
});

afterEach(async () => {
  await running?.stop();
  running = undefined;
  await Promise.all(proxies.map((it) => it.stop()));
  proxies = [];
});

afterAll(async () => {
  await world?.stop();
});

async function relayerBehind(database: string, plans: readonly FaultPlan[], chain: Record<string, unknown> = {}, privatePlans: readonly FaultPlan[] = []): Promise<RunningRelayer> {
  proxies = await Promise.all([...plans, ...privatePlans].map((plan) => startRpcProxy(world.anvil.rpcUrl, plan)));
  const environment = world.environment(database);
  const [configured] = JSON.parse(environment['CHAINS'] ?? '[]') as Record<string, unknown>[];
  const urls = proxies.map(({ url }) => url);
  const privateRpcUrls = urls.slice(plans.length);
  running = await startRelayer({
    ...environment,
    CHAINS: JSON.stringify([{ ...configured, rpcUrls: urls.slice(0, plans.length), ...(privateRpcUrls.length === 0 ? {} : { privateRpcUrls }), ...chain }]),
    RPC_TIMEOUT_MS: '700',
    REBROADCAST_MS: '600',
    COLLECT_ITEMS_MAX: '5',
    COLLECT_WAIT_MS: '30',
    LANE_IN_FLIGHT_MAX: '4',
  });
  return running;
}

async function allFinal(by: RunningRelayer, requests: readonly SubmitRequest[], timeoutMs = 35_000): Promise<void> {
  const ids = requests.map(({ intentId }) => intentId);
  await until('every intent is final', async () => (await by.relayer.queries.intents(ids)).every(({ state }) => state === IntentState.INTENT_STATE_FINAL), timeoutMs);
}

/** The log and the chain tell the same story, each intent once in it, and nothing is left open. */
async function exactlyOnce(database: string, requests: readonly SubmitRequest[], before: { readonly units: bigint; readonly nonce: bigint }): Promise<void> {
  expect(await world.vaultUnits()).toBe(before.units + BigInt(requests.length) * 1_000_000n);
  const events = (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
  const executed = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes.filter((it) => it.executed).map((it) => it.intentId) : []));
  expect([...executed].sort()).toEqual(requests.map(({ intentId }) => intentId).sort());
  const planned = events.flatMap((event) => (event.type === 'TransactionPlanned' ? [event] : []));
  const final = events.filter((event) => event.type === 'TransactionFinalized');
  expect(new Set(planned.map(({ nonce }) => nonce)).size).toBe(planned.length);
  expect(final).toHaveLength(planned.length);
  expect((await world.relayerNonce()) - before.nonce).toBe(BigInt(planned.length));
  for (const fact of final) {
    const receipt = (await world.rpc.call('eth_getTransactionReceipt', [fact.transactionHash])) as { status: string; blockHash: string } | null;
    expect(receipt).toMatchObject({ status: '0x1', blockHash: fact.blockHash });
  }
}

const standing = async () => ({ units: await world.vaultUnits(), nonce: await world.relayerNonce() });
const collects = (count: number): SubmitRequest[] => Array.from({ length: count }, (_, i) => world.collect({ payer: i, merchant: 1 + (i % 4) }));

describe('the payment flow against endpoints that fail and lie', () => {
  it.each(seeds)('seed %i: every intent is executed once, chain and log agree to the unit, nothing is left open', async (seed) => {
    const plans = faultPlans({ seed, endpoints: ENDPOINTS, requests: FAULTY_REQUESTS });
    const before = await standing();
    try {
      const by = await relayerBehind(`seed_${seed}`, plans);
      const requests = collects(INTENTS);
      for (let at = 0; at < INTENTS; at += 6) {
        await by.relayer.submission.submit(requests.slice(at, at + 6), '');
        const height = await world.rpc.call('eth_blockNumber', []);
        await until('a block has passed', async () => (await world.rpc.call('eth_blockNumber', [])) !== height);
      }
      await allFinal(by, requests);
      await exactlyOnce(`seed_${seed}`, requests, before);
    } catch (error) {
      const happened = proxies.map(({ journal }, i) => journal.map((it) => `  endpoint ${i + 1}, request ${it.request} (${it.methods}): ${it.fault}`).join('\n')).join('\n');
      throw new Error(`keep this seed in rpc-fault-seeds.json\n${printPlans(seed, plans)}\nwhat happened:\n${happened}\n${String(error)}`, { cause: error });
    }
    // Proof that the run was what it says: faults did happen, and broadcasts met some of them.
    expect(proxies.flatMap(({ journal }) => journal).length).toBeGreaterThan(3);
  });
});

/** Plans of one fault from the first request to `last`. */
const always = (fault: Fault, last = Number.MAX_SAFE_INTEGER): FaultPlan => [{ from: 0, to: last, fault }];
const HONEST: FaultPlan = [];

const metric = async (by: RunningRelayer, name: string): Promise<string[]> => (await by.registry.metrics()).split('\n').filter((line) => line.startsWith(name));

describe('defects of others, passed', () => {
  it('Rundler #813: endpoints that disagree about nonces and heads lose no operation', async () => {
    const before = await standing();
    const by = await relayerBehind('rundler_813', [HONEST, always(new LyingNonce(3n)), HONEST]);
    const requests = collects(20);
    await by.relayer.submission.submit(requests.slice(0, 10), '');
    await until('the first are in', async () => (await world.vaultUnits()) > before.units);
    // Naive: one endpoint's count is the next nonce. It would leave a gap of three that nobody ever fills.
    const [honest, liar] = await Promise.all([0, 1].map((i) => jsonRpc(proxies[i]?.url ?? '').call('eth_getTransactionCount', [world.relayer, 'latest'])));
    expect(BigInt(String(liar)) - BigInt(String(honest))).toBeGreaterThanOrEqual(2n);
    proxies[2]?.set(new StaleHead(4n));
    await by.relayer.submission.submit(requests.slice(10), '');
    await until('time has passed on the chain', async () => (await metric(by, 'settlement_relayer_rpc_endpoint_state')).length > 0);
    proxies[2]?.set(undefined);
    await allFinal(by, requests);
    await exactlyOnce('rundler_813', requests, before);
  });

  it('Rundler #296: a count from one endpoint and a receipt from another one that is behind is no foreign transaction', async () => {
    const before = await standing();
    const by = await relayerBehind('rundler_296', [HONEST, always(new MissingReceipts()), HONEST]);
    const requests = collects(20);
    await by.relayer.submission.submit(requests, '');
    await until('some are in', async () => (await world.vaultUnits()) > before.units);
    // Naive: the nonce is used (says one), our transaction has no receipt (says another): "somebody else uses the key".
    const [block] = (await readAll(world.postgres.urlFor('rundler_296'))).flatMap(({ event }) => (event.type === 'TransactionSigned' ? [event.transactionHash] : []));
    expect(await jsonRpc(proxies[1]?.url ?? '').call('eth_getTransactionReceipt', [block])).toBeNull();
    await allFinal(by, requests);
    await exactlyOnce('rundler_296', requests, before);
    expect((await metric(by, 'settlement_relayer_rpc_disagreements_total')).join()).toMatch(/what="receipt"/);
  });

  it('x402 #452, #786, #2294: an answer lost after the broadcast is unknown, and the chain resolves it: one transaction', async () => {
    const before = await standing();
    const by = await relayerBehind('x402_timeout', [always(new DropAnswerAfterBroadcast()), always(new DropAnswerAfterBroadcast()), always(new DropAnswerAfterBroadcast())]);
    const [request] = collects(1);
    if (request === undefined) throw new Error('no request');
    await by.relayer.submission.submit([request], '');
    await allFinal(by, [request]);
    await exactlyOnce('x402_timeout', [request], before);
    expect((await world.relayerNonce()) - before.nonce).toBe(1n);
    expect(proxies.every(({ journal }) => journal.length > 0)).toBe(true);
    expect((await metric(by, 'settlement_relayer_unknown_outcomes_total')).join()).toMatch(/what="broadcast"\} [1-9]/);
  });

  it('x402 #1062: a broadcast that runs into the timeout is neither success nor failure until the receipt is there', async () => {
    const before = await standing();
    const by = await relayerBehind('x402_silence', [always(new SilenceAfterBroadcast()), always(new SilenceAfterBroadcast()), always(new SilenceAfterBroadcast())]);
    const requests = collects(3);
    await by.relayer.submission.submit(requests, '');
    const seen = new Set<IntentState>();
    await until('every intent is final', async () => {
      const statuses = await by.relayer.queries.intents(requests.map(({ intentId }) => intentId));
      for (const { state } of statuses) seen.add(state);
      return statuses.every(({ state }) => state === IntentState.INTENT_STATE_FINAL);
    });
    expect(seen.has(IntentState.INTENT_STATE_FAILED)).toBe(false);
    await exactlyOnce('x402_silence', requests, before);
  });
});

describe('several endpoints', () => {
  it('give the first attempts to the private one alone, and to all when the blocks are over', async () => {
    const before = await standing();
    // The private endpoint takes them and includes nothing: never forwarded.
    const by = await relayerBehind('private_first', [HONEST, HONEST, HONEST], { privateRpcBlocks: 4 }, [always(new HalfOpenSocket())]);
    const height = async (): Promise<bigint> => BigInt(String(await world.rpc.call('eth_blockNumber', [])));
    const requests = collects(4);
    const sentAt = await height();
    await by.relayer.submission.submit(requests, '');
    await allFinal(by, requests);
    await exactlyOnce('private_first', requests, before);
    const inclusions = (await readAll(world.postgres.urlFor('private_first'))).flatMap(({ event }) => (event.type === 'TransactionFinalized' ? [event.blockNumber] : []));
    for (const block of inclusions) expect(block).toBeGreaterThanOrEqual(sentAt + 4n);
    expect(proxies[3]?.journal.some(({ methods }) => methods === 'eth_sendRawTransaction' || methods === 'eth_chainId')).toBe(true);
  });

  it('go on with one of three down, and the readiness text names it and why, without its path', async () => {
    const before = await standing();
    const by = await relayerBehind('one_down', [HONEST, always(new TooManyRequests(30)), always(new LyingReceipts())]);
    const requests = collects(10);
    await by.relayer.submission.submit(requests, '');
    // Two of three must agree, and one is told to wait while another lies: nothing is believed, nothing is lost.
    const name = `endpoints eip155:${world.chain.chainId}`;
    await until('the service says so', async () => (await by.health.report()).checks[name]?.ok === false);
    const { checks } = await by.health.report();
    expect(checks[name]?.why).toMatch(/no 2 of 3 endpoints agree on receipt: 2 answered \(rpc 1 \(127\.0\.0\.1:\d+\), rpc 3 \(127\.0\.0\.1:\d+\)\); out of use: rpc 2 \(127\.0\.0\.1:\d+\) rate-limited: .*; probed again in \d+ s/);
    expect(await world.vaultUnits()).toBe(before.units + 10_000_000n);
    expect((await readAll(world.postgres.urlFor('one_down'))).filter(({ event }) => event.type === 'TransactionIncluded' || event.type === 'TransactionFinalized')).toEqual([]);
    proxies[2]?.set(undefined);
    await allFinal(by, requests);
    await exactlyOnce('one_down', requests, before);
    expect((await metric(by, 'settlement_relayer_rpc_endpoint_state')).join('\n')).toMatch(/endpoint="rpc 2 \(127\.0\.0\.1:\d+\)",state="open"\} 1/);
  });

  it('are as before with one', async () => {
    const before = await standing();
    const by = await relayerBehind('single', [HONEST]);
    const requests = collects(5);
    await by.relayer.submission.submit(requests, '');
    await allFinal(by, requests);
    await exactlyOnce('single', requests, before);
  });
});

import { jsonRpc } from '@settlement/chain/rpc';
import { IntentState } from '@settlement/proto/relayer/v1/relayer';
import type { FaultPlan } from '@settlement/testing/rpc-proxy/fault-plan';
import { DropAnswerAfterBroadcast, HalfOpenSocket, LyingNonce, LyingReceipts, MissingReceipts, SilenceAfterBroadcast, StaleHead, SwallowsBroadcasts, TooManyRequests, type Fault } from '@settlement/testing/rpc-proxy/faults';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { EndpointWorld, metricLines } from '../test/endpoint-world';
import { readAll, until } from '../test/in-process';
import { startWorld } from '../test/relayer-world';

const DATABASES = ['swallowed_0', 'swallowed_13', 'swallowed_41', 'swallowed_16', 'rundler_813', 'rundler_296', 'x402_timeout', 'x402_silence', 'private_first', 'one_down', 'single'];
let endpoints: EndpointWorld;

beforeAll(async () => {
  endpoints = new EndpointWorld(await startWorld({ databases: DATABASES, payers: 40, blockTimeMs: 250, finalityDepth: 2 }));
});
afterEach(() => endpoints.clear());
afterAll(async () => {
  await endpoints?.world.stop();
});

/** Plans of one fault from the first request to `last`. */
const always = (fault: Fault, last = Number.MAX_SAFE_INTEGER): FaultPlan => [{ from: 0, to: last, fault }];
const HONEST: FaultPlan = [];

describe('defects of others, passed', () => {
  it('Rundler #813: endpoints that disagree about nonces and heads lose no operation', async () => {
    const before = await endpoints.standing();
    const by = await endpoints.relayerBehind('rundler_813', [HONEST, always(new LyingNonce(3n)), HONEST]);
    const requests = endpoints.collects(20);
    await by.relayer.submission.submit(requests.slice(0, 10), '');
    await until('the first are in', async () => (await endpoints.world.vaultUnits()) > before.units);
    // Naive: one endpoint's count is the next nonce. It would leave a gap of three that nobody ever fills.
    const [honest, liar] = await Promise.all([0, 1].map((i) => jsonRpc(endpoints.proxies[i]?.url ?? '').call('eth_getTransactionCount', [endpoints.world.relayer, 'latest'])));
    expect(BigInt(String(liar)) - BigInt(String(honest))).toBeGreaterThanOrEqual(2n);
    endpoints.proxies[2]?.set(new StaleHead(4n));
    await by.relayer.submission.submit(requests.slice(10), '');
    await until('time has passed on the chain', async () => (await metricLines(by, 'settlement_relayer_rpc_endpoint_state')).length > 0);
    endpoints.proxies[2]?.set(undefined);
    await endpoints.allFinal(by, requests);
    await endpoints.exactlyOnce('rundler_813', requests, before);
  });

  it('Rundler #296: a count from one endpoint and a receipt from another one that is behind is no foreign transaction', async () => {
    const before = await endpoints.standing();
    const by = await endpoints.relayerBehind('rundler_296', [HONEST, always(new MissingReceipts()), HONEST]);
    const requests = endpoints.collects(20);
    await by.relayer.submission.submit(requests, '');
    await until('some are in', async () => (await endpoints.world.vaultUnits()) > before.units);
    // Naive: the nonce is used (says one), our transaction has no receipt (says another): "somebody else uses the key".
    const [block] = (await readAll(endpoints.world.postgres.urlFor('rundler_296'))).flatMap(({ event }) => (event.type === 'TransactionSigned' ? [event.transactionHash] : []));
    expect(await jsonRpc(endpoints.proxies[1]?.url ?? '').call('eth_getTransactionReceipt', [block])).toBeNull();
    await endpoints.allFinal(by, requests);
    await endpoints.exactlyOnce('rundler_296', requests, before);
    expect((await metricLines(by, 'settlement_relayer_rpc_disagreements_total')).join()).toMatch(/what="receipt"/);
  });

  it('x402 #452, #786, #2294: an answer lost after the broadcast is unknown, and the chain resolves it: one transaction', async () => {
    const before = await endpoints.standing();
    const by = await endpoints.relayerBehind('x402_timeout', [always(new DropAnswerAfterBroadcast()), always(new DropAnswerAfterBroadcast()), always(new DropAnswerAfterBroadcast())]);
    const [request] = endpoints.collects(1);
    if (request === undefined) throw new Error('no request');
    await by.relayer.submission.submit([request], '');
    await endpoints.allFinal(by, [request]);
    await endpoints.exactlyOnce('x402_timeout', [request], before);
    expect((await endpoints.world.relayerNonce()) - before.nonce).toBe(1n);
    expect(endpoints.proxies.every(({ journal }) => journal.length > 0)).toBe(true);
    expect((await metricLines(by, 'settlement_relayer_unknown_outcomes_total')).join()).toMatch(/what="broadcast"\} [1-9]/);
  });

  it('x402 #1062: a broadcast that runs into the timeout is neither success nor failure until the receipt is there', async () => {
    const before = await endpoints.standing();
    const by = await endpoints.relayerBehind('x402_silence', [always(new SilenceAfterBroadcast()), always(new SilenceAfterBroadcast()), always(new SilenceAfterBroadcast())]);
    const requests = endpoints.collects(3);
    await by.relayer.submission.submit(requests, '');
    const seen = new Set<IntentState>();
    await until('every intent is final', async () => {
      const statuses = await by.relayer.queries.intents(requests.map(({ intentId }) => intentId));
      for (const { state } of statuses) seen.add(state);
      return statuses.every(({ state }) => state === IntentState.INTENT_STATE_FINAL);
    });
    expect(seen.has(IntentState.INTENT_STATE_FAILED)).toBe(false);
    await endpoints.exactlyOnce('x402_silence', requests, before);
  });
});

describe('an answer to a broadcast', () => {
  it.each([
    ['that it was taken', undefined],
    ['already known', 'already known'],
    ['nonce too low', 'nonce too low: next nonce 900, tx nonce 1'],
    ['a text that nobody knows', 'computer says no'],
  ])('decides nothing without a receipt: %s, from all, and none has the bytes', async (_, message) => {
    const before = await endpoints.standing();
    const database = `swallowed_${message === undefined ? 0 : message.length}`;
    const by = await endpoints.relayerBehind(database, [HONEST, HONEST, HONEST]);
    for (const proxy of endpoints.proxies) proxy.set(new SwallowsBroadcasts(message));
    const requests = endpoints.collects(2);
    const ids = requests.map(({ intentId }) => intentId);
    await by.relayer.submission.submit(requests, '');
    await until('it was sent, and sent again', () => Promise.resolve(endpoints.proxies.every(({ journal }) => journal.length >= 2)));
    expect((await by.relayer.queries.intents(ids)).map(({ state }) => state)).toEqual(ids.map(() => IntentState.INTENT_STATE_IN_FLIGHT));
    expect(await endpoints.standing()).toEqual(before);
    for (const proxy of endpoints.proxies) proxy.set(undefined);
    await endpoints.allFinal(by, requests);
    await endpoints.exactlyOnce(database, requests, before);
  });
});

describe('several endpoints', () => {
  it('give the first attempts to the private one alone, and to all when the blocks are over', async () => {
    const before = await endpoints.standing();
    // The private endpoint takes them and includes nothing: never forwarded.
    const by = await endpoints.relayerBehind('private_first', [HONEST, HONEST, HONEST], { privateRpcBlocks: 4 }, [always(new HalfOpenSocket())]);
    const height = async (): Promise<bigint> => BigInt(String(await endpoints.world.rpc.call('eth_blockNumber', [])));
    const requests = endpoints.collects(4);
    const sentAt = await height();
    await by.relayer.submission.submit(requests, '');
    await endpoints.allFinal(by, requests);
    await endpoints.exactlyOnce('private_first', requests, before);
    const inclusions = (await readAll(endpoints.world.postgres.urlFor('private_first'))).flatMap(({ event }) => (event.type === 'TransactionFinalized' ? [event.blockNumber] : []));
    for (const block of inclusions) expect(block).toBeGreaterThanOrEqual(sentAt + 4n);
    expect(endpoints.proxies[3]?.journal.some(({ methods }) => methods === 'eth_sendRawTransaction' || methods === 'eth_chainId')).toBe(true);
  });

  it('go on with one of three down, and the readiness text names it and why, without its path', async () => {
    const before = await endpoints.standing();
    const by = await endpoints.relayerBehind('one_down', [HONEST, always(new TooManyRequests(30)), always(new LyingReceipts())]);
    const requests = endpoints.collects(10);
    await by.relayer.submission.submit(requests, '');
    // Two of three must agree, and one is told to wait while another lies: nothing is believed, nothing is lost.
    const name = `endpoints eip155:${endpoints.world.chain.chainId}`;
    await until('the service says so', async () => (await by.health.report()).checks[name]?.ok === false);
    const { checks } = await by.health.report();
    expect(checks[name]?.why).toMatch(/no 2 of 3 endpoints agree on receipt: 2 answered \(rpc 1 \(127\.0\.0\.1:\d+\), rpc 3 \(127\.0\.0\.1:\d+\)\); out of use: rpc 2 \(127\.0\.0\.1:\d+\) rate-limited: .*; probed again in \d+ s/);
    expect(await endpoints.world.vaultUnits()).toBe(before.units + 10_000_000n);
    expect((await readAll(endpoints.world.postgres.urlFor('one_down'))).filter(({ event }) => event.type === 'TransactionIncluded' || event.type === 'TransactionFinalized')).toEqual([]);
    endpoints.proxies[2]?.set(undefined);
    await endpoints.allFinal(by, requests);
    await endpoints.exactlyOnce('one_down', requests, before);
    expect((await metricLines(by, 'settlement_relayer_rpc_endpoint_state')).join('\n')).toMatch(/endpoint="rpc 2 \(127\.0\.0\.1:\d+\)",state="open"\} 1/);
  });

  it('are as before with one', async () => {
    const before = await endpoints.standing();
    const by = await endpoints.relayerBehind('single', [HONEST]);
    const requests = endpoints.collects(5);
    await by.relayer.submission.submit(requests, '');
    await endpoints.allFinal(by, requests);
    await endpoints.exactlyOnce('single', requests, before);
  });
});

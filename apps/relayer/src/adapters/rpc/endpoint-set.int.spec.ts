import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { systemClock } from '@settlement/config/system-ports';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { createLogger } from '@settlement/observability/logger';
import * as faults from '@settlement/testing/rpc-proxy/faults';
import { startRpcProxy, type RpcProxy } from '@settlement/testing/rpc-proxy/rpc-proxy';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../test/in-process';
import { DEV_RELAYER_KEY } from '../../../test/relayer-world';
import { Secp256k1Signer } from '../secp256k1-signer';
import { EndpointSet } from './endpoint-set';

let anvil: Anvil;
let rpc: JsonRpc;
let proxies: RpcProxy[];
let states: Map<string, string>;
let disagreements: string[];
const signer = new Secp256k1Signer(DEV_RELAYER_KEY);
const TO = '0x70997970c51812dc3a010c7d01b50e0d17dc79c8' as EvmAddress;

beforeAll(async () => {
  anvil = await startAnvil({ blockTimeMs: 'instant' });
  rpc = jsonRpc(anvil.rpcUrl);
  await rpc.call('anvil_mine', ['0x14']);
});
afterAll(async () => {
  await anvil.stop();
});
beforeEach(async () => {
  proxies = await Promise.all([0, 1, 2].map(() => startRpcProxy(anvil.rpcUrl)));
  states = new Map();
  disagreements = [];
});
afterEach(async () => {
  await Promise.all(proxies.map((it) => it.stop()));
});

function endpoints(change: Partial<{ quorum: number; urls: readonly string[] }> = {}): EndpointSet {
  const rpcUrls = change.urls ?? proxies.map(({ url }) => url);
  return new EndpointSet({
    caip2: 'eip155:31337',
    chainId: 31337n,
    rpcUrls,
    privateRpcUrls: [],
    quorum: change.quorum ?? 2,
    privateBlocks: 3n,
    lagBlocksMax: 3n,
    timeoutMs: 1_000,
    clock: systemClock,
    logger: createLogger({ service: 'test', region: 'local', epoch: 1n, level: 'silent' }),
    metrics: {
      endpointState: (_, endpoint, state) => states.set(endpoint.slice(0, 5), state),
      endpointDisagreement: (_, endpoint, what) => disagreements.push(`${endpoint.slice(0, 5)} ${what}`),
    },
  });
}

async function transfer(): Promise<{ readonly raw: HexBytes; readonly hash: string }> {
  const nonce = BigInt(String(await rpc.call('eth_getTransactionCount', [signer.address, 'latest'])));
  const signed = await signer.sign({ chainId: 31337n, nonce, to: TO, data: '0x' as HexBytes, gasLimit: 21_000n, valueWei: 1n, feePerGasWeiMax: 10_000_000_000n, priorityFeePerGasWeiMax: 1n });
  return { raw: signed.raw, hash: signed.transactionHash };
}

const failure = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no failure', (error: unknown) => error);

describe('endpoints that must agree', () => {
  it('a lone liar about nonces is not believed, is counted, and is left out at the third lie', async () => {
    proxies[1]?.set(new faults.LyingNonce(5n));
    const set = endpoints();
    const truth = BigInt(String(await rpc.call('eth_getTransactionCount', [signer.address, 'latest'])));
    for (let i = 0; i < 3; i += 1) expect(await set.transactionCount(signer.address)).toBe(truth);
    // Its answers may come after the decision: they are judged all the same.
    await until('the liar is out', () => Promise.resolve(states.get('rpc 2') === 'open' || set.transactionCount(signer.address).then(() => false)));
    expect(disagreements).toContain('rpc 2 nonce');
    expect(set.health()).toMatchObject({ ok: true, why: expect.stringMatching(/^rpc 2 \(127\.0\.0\.1:\d+\) lying: contradicted the others 3 times, last about the nonce at height \d+; probed again in 1 s$/) as unknown });
  });

  it('two that disagree about a nonce beyond lag are both not believed', async () => {
    proxies[1]?.set(new faults.LyingNonce(-1n));
    await endpoints({ urls: [anvil.rpcUrl], quorum: 1 }).broadcast([(await transfer()).raw]);
    await rpc.call('evm_mine', []);
    const set = endpoints({ urls: proxies.slice(0, 2).map(({ url }) => url) });
    expect(await failure(set.transactionCount(signer.address))).toMatchObject({ code: 'RPC_DISAGREE', outcome: 'not-done' });
  });

  it('one that is behind is no liar, and a transaction that it has not seen is not absent because of it', async () => {
    const set = endpoints();
    const { raw, hash } = await transfer();
    // Who is asked a little later may have heard of it by then.
    expect((await set.broadcast([raw]))[0]?.outcome).toMatch(/^(?:accepted|already-known)$/);
    await until('it is mined', async () => (await rpc.call('eth_getTransactionReceipt', [hash])) !== null);
    proxies[2]?.set(new faults.StaleHead(2n));
    expect((await set.receipts([hash])).get(hash)).toMatchObject({ transactionHash: hash, status: 1 });
    expect(disagreements.filter((it) => it.startsWith('rpc 3'))).toEqual([]);
    expect(states.get('rpc 3')).toBe('closed');
  });

  it('a receipt that only one gives is not believed; one that all but one give is', async () => {
    const { raw, hash } = await transfer();
    const set = endpoints();
    await set.broadcast([raw]);
    await rpc.call('anvil_mine', ['0x3']);
    proxies[0]?.set(new faults.LyingReceipts());
    expect((await set.receipts([hash])).get(hash)).toMatchObject({ status: 1 });
    const never = `0x${'77'.repeat(32)}`;
    expect((await set.receipts([never])).get(never)).toBeUndefined();
    proxies[1]?.set(new faults.MissingReceipts());
    // One honest, one that lies, one that knows nothing: no two say the same.
    expect(await failure(set.receipts([hash]))).toMatchObject({ code: 'RPC_DISAGREE' });
  });

  it('a simulation that only one sees fail does not fail, and what is given up for one is seen by a quorum', async () => {
    proxies[0]?.set(new faults.LyingSimulations());
    const request = { from: signer.address, to: TO, data: '0x' as HexBytes, gas: 30_000n, valueWei: 3n };
    const set = endpoints();
    const options = { confirmed: false, delegateCalls: false };
    const moved = { ok: true, logs: [{ address: `0x${'e'.repeat(40)}`, data: `0x${'3'.padStart(64, '0')}` }] };
    expect(await set.simulate([request], options)).toMatchObject([moved]);
    expect(await set.simulate([request], { ...options, confirmed: true })).toMatchObject([moved]);
    proxies[1]?.set(new faults.LyingSimulations());
    expect(await set.simulate([request], options)).toMatchObject([{ ok: false }]);
  });

  it('blocks that nobody else has are not canonical, and neither is their head', async () => {
    const set = endpoints();
    const truth = await set.head();
    proxies[0]?.set(new faults.OtherBlocks());
    expect(await set.head()).toEqual(truth);
    expect(await set.blockHashes([truth.number])).toEqual(new Map([[truth.number, truth.hash]]));
  });
});

describe('an endpoint out of use', () => {
  const rounds = async (set: EndpointSet, count: number): Promise<void> => {
    for (let i = 0; i < count; i += 1) await set.head();
  };

  it('serves another chain: is left out before it is believed, and not sent to', async () => {
    proxies[2]?.set(new faults.OtherChain());
    const set = endpoints();
    await rounds(set, 2);
    await until('it is out', () => Promise.resolve(states.get('rpc 3') === 'open'));
    expect(set.health().why).toMatch(/rpc 3 .* wrong-chain: it serves chain 1337, not 31337/);
    const before = proxies[2]?.journal.length;
    await set.broadcast([(await transfer()).raw]);
    expect(proxies[2]?.journal.length).toBe(before);
  });

  it('lags: is left out, probed, and put back when it has caught up', async () => {
    proxies[2]?.set(new faults.StaleHead(8n));
    const set = endpoints();
    await until('it is out', async () => {
      await set.head();
      return states.get('rpc 3') === 'open';
    });
    expect(set.health().why).toMatch(/rpc 3 .* lagging: 8 blocks behind; probed again in 1 s/);
    proxies[2]?.set(undefined);
    await until('it is back', async () => {
      await set.head();
      return states.get('rpc 3') === 'closed';
    });
    expect(set.health()).toEqual({ ok: true });
  });

  it('answers 429 with Retry-After: is left alone for that long', async () => {
    proxies[0]?.set(new faults.TooManyRequests(20));
    const set = endpoints();
    await rounds(set, 3);
    expect(set.health().why).toMatch(/rpc 1 .* rate-limited: .*429.*; probed again in (?:19|20) s/);
    expect(proxies[0]?.journal).toHaveLength(1);
  });

  it('says in JSON that a limit is exceeded: is left alone, in a batch as well', async () => {
    const set = endpoints();
    await rounds(set, 1);
    proxies[0]?.set(new faults.LimitInJson());
    await set.blockHashes([1n, 2n]);
    await until('it is out', () => Promise.resolve(states.get('rpc 1') === 'open'));
    expect(set.health().why).toMatch(/rpc 1 .* rate-limited: eth_getBlockByNumber: limit exceeded/);
  });

  it('never answers: costs no more than its first timeouts, and the others set the pace', async () => {
    proxies[1]?.set(new faults.HalfOpenSocket());
    const set = endpoints();
    const before = performance.now();
    await rounds(set, 5);
    expect(performance.now() - before).toBeLessThan(2_500);
    await until('it is out', async () => {
      await set.head();
      return states.get('rpc 2') === 'open';
    });
    expect(set.health().why).toMatch(/rpc 2 .* timeouts: 3 times in a row/);
  });

  it('leaves no quorum: nothing is answered, and the text says who is missing and why', async () => {
    proxies[1]?.set(new faults.TooManyRequests(30));
    proxies[2]?.set(new faults.TooManyRequests(30));
    const set = endpoints();
    await failure(set.head());
    expect(await failure(set.head())).toMatchObject({ code: 'RPC_NO_QUORUM', message: expect.stringMatching(/rpc 2 .* rate-limited.*; rpc 3 .* rate-limited/) as unknown });
    expect(set.health().ok).toBe(false);
  });
});

describe('a broadcast', () => {
  it('is accepted when one endpoint takes it, however the others fail', async () => {
    proxies[0]?.set(new faults.ConnectionReset());
    proxies[1]?.set(new faults.BadGateway(false));
    expect(await endpoints().broadcast([(await transfer()).raw])).toEqual([{ outcome: 'accepted' }]);
  });

  it('is unknown when one endpoint may have it and none says so', async () => {
    const { raw, hash } = await transfer();
    proxies[0]?.set(new faults.SilenceAfterBroadcast());
    proxies[1]?.set(new faults.ConnectionReset());
    proxies[2]?.set(new faults.TooManyRequests());
    const [outcome] = await endpoints().broadcast([raw]);
    expect(outcome?.outcome).toBe('unknown');
    await until('it is mined all the same', async () => (await rpc.call('eth_getTransactionReceipt', [hash])) !== null);
  });

  it('keeps what a batch says of the others when one item has no answer', async () => {
    const one = await transfer();
    const nonce = BigInt(String(await rpc.call('eth_getTransactionCount', [signer.address, 'latest'])));
    const next = await signer.sign({ chainId: 31337n, nonce: nonce + 1n, to: TO, data: '0x' as HexBytes, gasLimit: 21_000n, valueWei: 1n, feePerGasWeiMax: 10_000_000_000n, priorityFeePerGasWeiMax: 1n });
    for (const proxy of proxies) proxy.set(new faults.OneItemWithoutAnswer('left out'));
    const outcomes = await endpoints().broadcast([one.raw, next.raw]);
    expect(['accepted', 'already-known']).toContain(outcomes[0]?.outcome);
    expect(outcomes[1]).toMatchObject({ outcome: 'unknown' });
  });
});

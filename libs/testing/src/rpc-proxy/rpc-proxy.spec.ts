import { createServer, type Server } from 'node:http';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { faultAt, faultPlans, printPlans } from './fault-plan';
import * as faults from './faults';
import { startRpcProxy, type RpcProxy } from './rpc-proxy';

/** A node that counts what reaches it. */
let node: Server;
let seen: string[];
let proxy: RpcProxy;

const RECEIPT = { transactionHash: `0x${'a1'.repeat(32)}`, blockNumber: '0x32', blockHash: `0x${'b2'.repeat(32)}`, status: '0x1', logs: [{}] };

function resultOf(method: string, params: readonly unknown[]): unknown {
  switch (method) {
    case 'eth_blockNumber':
      return '0x32';
    case 'eth_getBlockByNumber':
      return { number: params[0] === 'latest' ? '0x32' : params[0], hash: `0x${'c3'.repeat(32)}` };
    case 'eth_getTransactionCount':
      return '0x9';
    case 'eth_getTransactionReceipt':
      return RECEIPT;
    case 'eth_chainId':
      return '0x7a69';
    default:
      return `0x${'d4'.repeat(32)}`;
  }
}

beforeEach(async () => {
  seen = [];
  node = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      const items = JSON.parse(body) as { id: unknown; method: string; params: unknown[] }[];
      seen.push(...items.map(({ method }) => method));
      response.end(JSON.stringify(items.map(({ id, method, params }) => ({ jsonrpc: '2.0', id, result: resultOf(method, params) }))));
    });
  });
  await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve));
  const address = node.address();
  proxy = await startRpcProxy(`http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
});

afterEach(async () => {
  await proxy.stop();
  node.closeAllConnections();
  await new Promise<void>((resolve) => node.close(() => resolve()));
});

const post = (items: unknown, timeoutMs = 2_000): Promise<Response> => fetch(proxy.url, { method: 'POST', body: JSON.stringify(items), signal: AbortSignal.timeout(timeoutMs) });
const item = (method: string, params: readonly unknown[] = [], id = 1) => ({ jsonrpc: '2.0', id, method, params });
const asked = async (method: string, params: readonly unknown[] = []): Promise<unknown> => ((await (await post(item(method, params))).json()) as { result?: unknown }).result;
const SEND = item('eth_sendRawTransaction', ['0x02']);

describe('a proxy that misbehaves', () => {
  it('is invisible without a fault', async () => {
    expect(await asked('eth_chainId')).toBe('0x7a69');
    expect(await (await post([item('eth_chainId', [], 1), item('eth_blockNumber', [], 2)])).json()).toMatchObject([{ id: 1, result: '0x7a69' }, { id: 2, result: '0x32' }]);
    expect(proxy.journal).toEqual([]);
  });

  it('drops the answer after the broadcast reached the node', async () => {
    proxy.set(new faults.DropAnswerAfterBroadcast());
    await expect(post(SEND)).rejects.toThrow();
    expect(seen).toEqual(['eth_sendRawTransaction']);
    expect(proxy.journal).toMatchObject([{ methods: 'eth_sendRawTransaction' }]);
    expect(await asked('eth_chainId')).toBe('0x7a69');
  });

  it('never answers a broadcast that reached the node', async () => {
    proxy.set(new faults.SilenceAfterBroadcast());
    await expect(post(SEND, 150)).rejects.toThrow(/timeout/i);
    expect(seen).toEqual(['eth_sendRawTransaction']);
  });

  it('delays', async () => {
    proxy.set(new faults.Delay(120));
    const before = performance.now();
    expect(await asked('eth_chainId')).toBe('0x7a69');
    expect(performance.now() - before).toBeGreaterThanOrEqual(110);
  });

  it('duplicates the request', async () => {
    proxy.set(new faults.DuplicateRequest());
    await post(SEND);
    expect(seen).toEqual(['eth_sendRawTransaction', 'eth_sendRawTransaction']);
  });

  it('is behind in head, blocks, counts and receipts alike', async () => {
    proxy.set(new faults.StaleHead(5n));
    expect(await asked('eth_getBlockByNumber', ['latest', false])).toMatchObject({ number: '0x2d' });
    expect(await asked('eth_getBlockByNumber', ['0x2e', false])).toBeNull();
    expect(await asked('eth_getBlockByNumber', ['0x2d', false])).toMatchObject({ number: '0x2d' });
    expect(await asked('eth_getTransactionReceipt', [RECEIPT.transactionHash])).toBeNull();
    expect(await (await post(item('eth_getTransactionCount', ['0x1', '0x32']))).json()).toMatchObject({ error: { message: 'header not found' } });
  });

  it('lies about nonces both ways', async () => {
    proxy.set(new faults.LyingNonce(3n));
    expect(await asked('eth_getTransactionCount', ['0x1', 'latest'])).toBe('0xc');
    proxy.set(new faults.LyingNonce(-20n));
    expect(await asked('eth_getTransactionCount', ['0x1', 'latest'])).toBe('0x0');
  });

  it('lies about receipts', async () => {
    proxy.set(new faults.MissingReceipts());
    expect(await asked('eth_getTransactionReceipt', [RECEIPT.transactionHash])).toBeNull();
    proxy.set(new faults.LyingReceipts());
    const lie = (await asked('eth_getTransactionReceipt', [RECEIPT.transactionHash])) as typeof RECEIPT;
    expect(lie).toMatchObject({ transactionHash: RECEIPT.transactionHash, status: '0x0', logs: [] });
    expect(lie.blockHash).not.toBe(RECEIPT.blockHash);
  });

  it('swallows broadcasts', async () => {
    proxy.set(new faults.SwallowsBroadcasts());
    expect(await asked('eth_sendRawTransaction', ['0x02'])).toMatch(/^0x/);
    proxy.set(new faults.SwallowsBroadcasts('nonce too low'));
    expect(await (await post(SEND)).json()).toMatchObject({ error: { code: -32_000, message: 'nonce too low' } });
    expect(seen).toEqual([]);
  });

  it('lies about simulations', async () => {
    proxy.set(new faults.LyingSimulations());
    expect(await asked('eth_simulateV1', [{}, 'latest'])).toMatchObject([{ calls: [{ status: '0x0', logs: [] }] }]);
  });

  it("serves other blocks and another chain's", async () => {
    proxy.set(new faults.OtherBlocks());
    expect(await asked('eth_getBlockByNumber', ['latest', false])).toMatchObject({ hash: `0x${'3c'.repeat(32)}` });
    expect(await asked('eth_chainId')).toBe('0x7a69');
    proxy.set(new faults.OtherChain());
    expect(await asked('eth_chainId')).toBe('0x539');
  });

  it('answers 429 with and without Retry-After, and 502 before and after the node', async () => {
    proxy.set(new faults.TooManyRequests(2));
    expect((await post(SEND)).headers.get('retry-after')).toBe('2');
    proxy.set(new faults.TooManyRequests());
    const bare = await post(SEND);
    expect([bare.status, bare.headers.get('retry-after')]).toEqual([429, null]);
    proxy.set(new faults.LimitInJson());
    expect(await (await post(SEND)).json()).toMatchObject({ error: { code: -32_005 } });
    proxy.set(new faults.BadGateway(false));
    expect(await (await post(SEND)).text()).toContain('<html>');
    expect(seen).toEqual([]);
    proxy.set(new faults.BadGateway(true));
    expect((await post(SEND)).status).toBe(502);
    expect(seen).toEqual(['eth_sendRawTransaction']);
  });

  it('leaves sockets half open, answers half a body, resets', async () => {
    proxy.set(new faults.HalfOpenSocket());
    await expect(post(SEND, 150)).rejects.toThrow(/timeout/i);
    expect(seen).toEqual([]);
    proxy.set(new faults.HalfBody());
    const half = await post(SEND, 300);
    expect(half.status).toBe(200);
    await expect(half.text()).rejects.toThrow(/timeout/i);
    expect(seen).toEqual(['eth_sendRawTransaction']);
    proxy.set(new faults.ConnectionReset());
    await expect(post(SEND)).rejects.toThrow();
    expect(seen).toHaveLength(1);
  });

  it('leaves one item of a batch without its answer', async () => {
    const batch = [item('eth_chainId', [], 1), item('eth_blockNumber', [], 2)];
    proxy.set(new faults.OneItemWithoutAnswer('left out'));
    expect(await (await post(batch)).json()).toMatchObject([{ id: 1 }]);
    proxy.set(new faults.OneItemWithoutAnswer('an internal error'));
    expect(await (await post(batch)).json()).toMatchObject([{ id: 1, result: '0x7a69' }, { id: 2, error: { code: -32_603 } }]);
    expect(seen).toHaveLength(4);
  });
});

describe('a node of fewer methods', () => {
  it('refuses that one and answers the rest', async () => {
    proxy.set(new faults.LacksMethod('eth_chainId'));
    expect(await (await post([item('eth_chainId', [], 1), item('eth_blockNumber', [], 2)])).json()).toMatchObject([{ id: 1, error: { code: -32_601 } }, { id: 2, result: '0x32' }]);
    expect(seen).toEqual(['eth_blockNumber']);
  });
});

describe('a plan of faults', () => {
  it('is the same for the same seed, and another for another', () => {
    const print = (seed: number): string => printPlans(seed, faultPlans({ seed, endpoints: 3, requests: 300 }));
    expect(print(7)).toBe(print(7));
    expect(print(7)).not.toBe(print(8));
    expect(print(7)).toMatch(/endpoint 1, requests \d+ to \d+: /);
  });

  it('has one liar at most, and ends', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const plans = faultPlans({ seed, endpoints: 3, requests: 200 });
        expect(plans.filter((plan) => plan.some(({ fault }) => fault.lies)).length).toBeLessThanOrEqual(1);
        for (const plan of plans) expect(faultAt(plan, 230)).toBeUndefined();
      }),
    );
  });
});

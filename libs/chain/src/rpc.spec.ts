import { createServer, type Server } from 'node:http';
import { inspect } from 'node:util';
import { OperationalError } from '@settlement/kernel/errors';
import { afterEach, describe, expect, it } from 'vitest';
import { jsonRpc, NO_ANSWER, RpcRefused } from './rpc';

let server: Server | undefined;

async function node(answer: (body: string) => string | undefined, status = 200): Promise<string> {
  const started = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      const text = answer(body);
      if (text !== undefined) response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    });
  });
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  const address = started.address();
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

const failure = async (promise: Promise<unknown>): Promise<OperationalError> => {
  const error: unknown = await promise.then(() => undefined, (e: unknown) => e);
  expect(error).toBeInstanceOf(OperationalError);
  return error as OperationalError;
};

describe('JSON-RPC client', () => {
  it('puts the answers of a batch into the order of its requests', async () => {
    const url = await node((body) => JSON.stringify((JSON.parse(body) as { id: number; params: [number] }[]).map(({ id, params }) => ({ jsonrpc: '2.0', id, result: params[0] })).reverse()));
    const answers = await jsonRpc(url, { batchSizeMax: 3 }).batch([1, 2, 3, 4, 5].map((n) => ({ method: 'echo', params: [n] })));
    expect(answers.map((a) => (a.ok ? a.result : a.error))).toEqual([1, 2, 3, 4, 5]);
  });

  it('keeps one refusal of a batch from the others', async () => {
    const url = await node((body) => JSON.stringify((JSON.parse(body) as { id: number }[]).map(({ id }, i) => (i === 0 ? { id, error: { code: 3, message: 'execution reverted', data: '0x08' } } : { id, result: '0x1' }))));
    expect(await jsonRpc(url).batch([{ method: 'a', params: [] }, { method: 'b', params: [] }])).toEqual([
      { ok: false, error: { code: 3, message: 'execution reverted', data: '0x08' } },
      { ok: true, result: '0x1' },
    ]);
  });

  it('says that a refused call was not done', async () => {
    const url = await node((body) => JSON.stringify({ id: (JSON.parse(body) as { id: number }).id, error: { code: -32000, message: 'nonce too low' } }));
    const error = await failure(jsonRpc(url).call('eth_sendRawTransaction', ['0x']));
    expect(error).toBeInstanceOf(RpcRefused);
    expect(error.outcome).toBe('not-done');
  });

  it('calls a broadcast without an answer unknown, and a question without an answer not done', async () => {
    const url = await node(() => undefined);
    const rpc = jsonRpc(url, { timeoutMs: 100 });
    expect(await failure(rpc.call('eth_sendRawTransaction', ['0x']))).toMatchObject({ code: 'RPC_TIMEOUT', outcome: 'unknown' });
    expect(await failure(rpc.call('eth_blockNumber', []))).toMatchObject({ code: 'RPC_TIMEOUT', outcome: 'not-done' });
  });

  it('calls a broadcast not done only when no connection stood', async () => {
    const url = await node(() => undefined);
    await new Promise<void>((resolve) => server?.close(() => resolve()));
    expect(await failure(jsonRpc(url).call('eth_sendRawTransaction', ['0x']))).toMatchObject({ code: 'RPC_UNREACHABLE', outcome: 'not-done' });
  });

  it('calls a broadcast that a gateway answered with no JSON unknown', async () => {
    const url = await node(() => '<html>502</html>', 502);
    expect(await failure(jsonRpc(url).call('eth_sendRawTransaction', ['0x']))).toMatchObject({ code: 'RPC_MALFORMED', outcome: 'unknown' });
  });

  it('sends the credentials of a URL in the header, and prints neither them nor the path when it fails', async () => {
    const url = await node(() => '{}', 200);
    let authorization: string | undefined;
    server?.on('request', (request: { headers: { authorization?: string } }) => (authorization = request.headers.authorization));
    const secret = url.replace('http://', 'http://user:pass%2Fword@').concat('/v3/key');
    const error = await failure(jsonRpc(secret).call('eth_chainId', []));
    expect(authorization).toBe(`Basic ${Buffer.from('user:pass/word').toString('base64')}`);
    await new Promise<void>((resolve) => {
      server?.closeAllConnections();
      server?.close(() => resolve());
    });
    const down = await failure(jsonRpc(secret).call('eth_chainId', []));
    for (const shown of [error, down]) expect(inspect(shown, { depth: 9 })).not.toMatch(/pass|v3|user/);
  });

  it('says how long a gateway wants to be left alone, and that nothing was done', async () => {
    const url = await node(() => 'slow down', 429);
    server?.prependListener('request', (_, response: { setHeader(name: string, value: string): void }) => response.setHeader('retry-after', '7'));
    expect(await failure(jsonRpc(url).call('eth_sendRawTransaction', ['0x']))).toMatchObject({ code: 'RPC_RATE_LIMITED', status: 429, retryAfterMs: 7_000, outcome: 'not-done' });
  });

  it('knows nothing of an item that a batch leaves out, and keeps the others', async () => {
    const url = await node((body) => JSON.stringify((JSON.parse(body) as { id: number }[]).slice(1).map(({ id }) => ({ id, result: '0x1' }))));
    expect(await jsonRpc(url).batch([{ method: 'a', params: [] }, { method: 'b', params: [] }])).toEqual([{ ok: false, error: NO_ANSWER }, { ok: true, result: '0x1' }]);
  });
});

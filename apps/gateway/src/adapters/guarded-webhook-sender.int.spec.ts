import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuardedWebhookSender } from './guarded-webhook-sender';

let server: Server;
let port: number;
let hits = 0;

beforeAll(async () => {
  server = createServer((_request, response) => {
    hits += 1;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});

afterAll(() => {
  server.close();
});

const message = (url: string) => ({ url, headers: { 'content-type': 'application/json' }, body: '{}' });

describe('a name that resolves to a private address', () => {
  it.each([
    ['alone', [{ address: '127.0.0.1', family: 4 }]],
    ['as IPv6', [{ address: '::1', family: 6 }]],
    ['as IPv4 in IPv6', [{ address: '::ffff:127.0.0.1', family: 6 }]],
    ['among public ones', [{ address: '93.184.215.14', family: 4 }, { address: '10.0.0.1', family: 4 }]],
    ['of the metadata service', [{ address: '169.254.169.254', family: 4 }]],
  ])('%s is not connected to', async (_name, addresses) => {
    const sender = new GuardedWebhookSender({ allowPrivate: false, timeoutMs: 1_000, resolve: (_host, _options, done) => done(null, addresses) });
    expect(await sender.send(message(`https://rebind.example.com:${port}/`))).toEqual({ httpStatus: 0, error: 'TARGET_REFUSED' });
    expect(hits).toBe(0);
  });

  it('since yesterday is not connected to either: each attempt looks up and checks anew, in the look-up that its connection uses', async () => {
    let lookups = 0;
    const sender = new GuardedWebhookSender({
      allowPrivate: false,
      timeoutMs: 1_000,
      resolve: (_host, _options, done) => {
        lookups += 1;
        if (lookups === 1) done(Object.assign(new Error('no such name yet'), { code: 'ENOTFOUND' }), []);
        else done(null, [{ address: '127.0.0.1', family: 4 }]);
      },
    });
    expect(await sender.send(message(`https://rebind.example.com:${port}/`))).toEqual({ httpStatus: 0, error: 'ENOTFOUND' });
    expect(await sender.send(message(`https://rebind.example.com:${port}/`))).toEqual({ httpStatus: 0, error: 'TARGET_REFUSED' });
    expect(lookups).toBe(2);
    expect(hits).toBe(0);
  });
});

describe('a literal private address', () => {
  it.each(['https://127.0.0.1', 'https://[::1]', 'https://0x7f000001'])('%s is not connected to, although it needs no look-up', async (origin) => {
    const sender = new GuardedWebhookSender({ allowPrivate: false, timeoutMs: 1_000 });
    expect(await sender.send(message(`${origin}:${port}/`))).toEqual({ httpStatus: 0, error: 'TARGET_REFUSED' });
    expect(hits).toBe(0);
  });
});

describe('a receiver that is not there', () => {
  it('is an outcome, not an exception', async () => {
    const sender = new GuardedWebhookSender({ allowPrivate: true, timeoutMs: 500 });
    expect(await sender.send(message('http://127.0.0.1:1/'))).toEqual({ httpStatus: 0, error: 'ECONNREFUSED' });
    expect(await sender.send(message('http://name.invalid/'))).toMatchObject({ httpStatus: 0, error: expect.stringMatching(/^E/) });
  });
});

import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { TestAuthority, type MountedSecret } from '@settlement/testing/certificates';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { failureOf, Peers } from '../test/mutual-tls-peers';
import type { CertificateSource } from './tls/certificate-source';

const HOUR_MS = 3_600_000;
const all = { chainId: '' };
const CALLERS = 2;

let peers: Peers;
beforeEach(() => {
  peers = new Peers();
});
afterEach(() => peers.close());

interface Side {
  readonly name: string;
  readonly secret: MountedSecret;
  readonly source: CertificateSource;
}

function side(name: string): Side {
  const secret = peers.secret(name);
  return { name, secret, source: peers.source(secret) };
}

function rotate({ name, secret, source }: Side, issuer: TestAuthority, authorities: string): void {
  const next = issuer.issueWorkload(name);
  secret.put({ ...next, authorities });
  // As the file system's event does, 50 ms later: certificate-source.int.spec.ts waits for that one.
  source.look();
  expect(source.current.key.toString('utf8')).toBe(next.key);
}

/** Calls that are not repeated, one after the other, `CALLERS` at a time, until stopped; failures and latencies are kept. */
function steadyCalls(port: number, source: CertificateSource) {
  const failures: unknown[] = [];
  const client = peers.client(port, source);
  let calls = 0;
  let running = true;
  const callers = Array.from({ length: CALLERS }, async () => {
    while (running) {
      try {
        await client.listLanes(all, { deadlineMs: 5_000 });
        calls += 1;
      } catch (error) {
        failures.push(error);
        // A failure at once, again and again, would leave no time for anything else.
        await sleep(10);
      }
    }
  });
  return {
    failures,
    async stop(): Promise<number> {
      running = false;
      await Promise.all(callers);
      return calls;
    },
  };
}

describe('rotation', () => {
  it('of both sides, a hundred times each, with handshakes all the time, fails no call', { timeout: 120_000 }, async () => {
    const server = side('relayer');
    const caller = side('operator');
    const connections = new Set<string>();
    // Connections end all the time, so that calls come over connections of every pair. Each is drained: see grpc-server.ts.
    const { port } = await peers.relayer({
      certificates: server.source,
      connectionAgeMsMax: 100,
      listLanes: async (_request, call) => {
        connections.add(call.peer);
        await sleep(5);
        return { lanes: [] };
      },
    });
    const clients = Array.from({ length: 8 }, () => steadyCalls(port, caller.source));
    for (let i = 0; i < 100; i += 1) {
      rotate(server, peers.authority, peers.authority.certificate);
      await sleep(10);
      rotate(caller, peers.authority, peers.authority.certificate);
      await sleep(10);
    }
    // Seconds on a machine of its own; a busy one makes few handshakes a second.
    await vi.waitFor(() => expect(connections.size).toBeGreaterThan(60), { timeout: 60_000 });
    const calls = await Promise.all(clients.map((it) => it.stop()));
    expect(clients.flatMap(({ failures }) => failures)).toEqual([]);
    expect(calls.reduce((a, b) => a + b, 0)).toBeGreaterThan(100);
  });

  it('leaves open connections alone, however many there are', async () => {
    const server = side('relayer');
    const caller = side('operator');
    const connections = new Set<string>();
    const { port } = await peers.relayer({
      certificates: server.source,
      listLanes: (_request, call) => {
        connections.add(call.peer);
        return Promise.resolve({ lanes: [] });
      },
    });
    const client = peers.client(port, caller.source);
    await client.listLanes(all);
    for (let i = 0; i < 10; i += 1) {
      rotate(server, peers.authority, peers.authority.certificate);
      rotate(caller, peers.authority, peers.authority.certificate);
      await client.listLanes(all);
    }
    expect(connections.size).toBe(1);
  });

  it('is seen by the next handshake on both sides', async () => {
    const server = side('relayer');
    const caller = side('operator');
    const { port } = await peers.relayer({ certificates: server.source });
    for (let i = 0; i < 5; i += 1) {
      rotate(server, peers.authority, peers.authority.certificate);
      rotate(caller, peers.authority, peers.authority.certificate);
      expect(await shownBy(port, caller.source)).toBe(server.source.current.serialNumber);
      expect(await shownTo(server.source, caller.source)).toBe(caller.source.current.serialNumber);
    }
  });

  it('to another authority, over a time in which both are believed, fails no call; afterwards the old one is nobody', { timeout: 90_000 }, async () => {
    const server = side('relayer');
    const caller = side('operator');
    const connections = new Set<string>();
    const { port } = await peers.relayer({
      certificates: server.source,
      connectionAgeMsMax: 50,
      listLanes: (_request, call) => {
        connections.add(call.peer);
        return Promise.resolve({ lanes: [] });
      },
    });
    // Until calls have come over connections that were made since.
    const used = (): Promise<void> => {
      const { size } = connections;
      return vi.waitFor(() => expect(connections.size).toBeGreaterThan(size + 1), { timeout: 20_000, interval: 10 });
    };
    const before = peers.authority;
    const after = TestAuthority.root();
    const both = before.certificate + after.certificate;
    const left = peers.source(peers.secret('operator', before.issueWorkload('operator'), both));
    const steady = steadyCalls(port, caller.source);
    // The order of docs/mutual-tls.md: first all believe both, then each gets its new pair, last all believe the new one alone.
    rotate(server, before, both);
    rotate(caller, before, both);
    await used();
    rotate(caller, after, both);
    await used();
    rotate(server, after, both);
    await used();
    rotate(server, after, after.certificate);
    rotate(caller, after, after.certificate);
    await used();
    await steady.stop();
    expect(steady.failures).toEqual([]);
    expect(await failureOf(peers.client(port, left).listLanes(all))).toMatchObject({ name: 'RpcRefused', message: expect.stringContaining('not believed') as string });
  });

  it('recovers, without a restart, from a certificate that had run out on both sides', { timeout: 60_000 }, async () => {
    const soon = () => ({ notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + 6_000) });
    const server: Side = { name: 'relayer', ...sided(peers.authority, 'relayer', soon()) };
    const caller: Side = { name: 'operator', ...sided(peers.authority, 'operator', soon()) };
    const { port } = await peers.relayer({ certificates: server.source, connectionAgeMsMax: 100 });
    const client = peers.client(port, caller.source);
    await client.listLanes(all);
    // Whole seconds in a certificate: over for sure.
    await vi.waitFor(async () => expect(await failureOf(client.listLanes(all, { deadlineMs: 500 }))).toBeInstanceOf(Error), { timeout: 20_000, interval: 100 });
    rotate(server, peers.authority, peers.authority.certificate);
    rotate(caller, peers.authority, peers.authority.certificate);
    await vi.waitFor(() => client.listLanes(all, { deadlineMs: 2_000 }), { timeout: 20_000, interval: 50 });
  });
});

function sided(authority: TestAuthority, name: string, validity: { readonly notBefore: Date; readonly notAfter: Date }): Omit<Side, 'name'> {
  const secret = peers.secret(name, authority.issueWorkload(name, validity));
  return { secret, source: peers.source(secret) };
}

/** Serial number of what the server at `port` shows. */
function shownBy(port: number, { current: { certificate, key, authorities } }: CertificateSource): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername: 'settlement-relayer', cert: certificate, key, ca: authorities, ALPNProtocols: ['h2'] });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
  });
}

/** Serial number of what a client shows to a server. */
async function shownTo(server: CertificateSource, caller: CertificateSource): Promise<string> {
  const { certificate, key, authorities } = server.current;
  const shown = Promise.withResolvers<string>();
  const listener = createServer({ cert: certificate, key, ca: authorities, requestCert: true, ALPNProtocols: ['h2'] }, (socket: TLSSocket) => {
    socket.on('error', () => undefined);
    shown.resolve(socket.getPeerCertificate().serialNumber);
    socket.destroy();
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const asking = failureOf(peers.client((listener.address() as AddressInfo).port, caller).listLanes(all, { deadlineMs: 500 }));
  try {
    return await shown.promise;
  } finally {
    await asking;
    listener.close();
  }
}

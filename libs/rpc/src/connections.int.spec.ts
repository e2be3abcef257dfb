import { spawn } from 'node:child_process';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RelayerServiceService as RelayerService } from '@settlement/proto/relayer/v1/relayer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, Peers, recordedLog } from '../test/mutual-tls-peers';
import { grpcClient } from './grpc-client';

const all = { chainId: '' };

let peers: Peers;
beforeEach(() => {
  peers = new Peers();
});
afterEach(() => peers.close());

/** A wire to `port` that can go silent: bytes are neither passed on nor refused, as when a machine has lost its power. */
async function wireTo(port: number) {
  let silent = false;
  let accepted = 0;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    accepted += 1;
    sockets.add(near);
    near.on('error', () => near.destroy());
    if (silent) return;
    const far = connect(port, '127.0.0.1');
    sockets.add(far);
    far.on('error', () => far.destroy());
    // What was connected before the silence stays silent after it: its peer is gone for good.
    let cut = false;
    const check = (): boolean => (cut ||= silent);
    near.on('data', (bytes) => void (check() || far.write(bytes)));
    far.on('data', (bytes) => void (check() || near.write(bytes)));
    near.on('close', () => far.destroy());
    far.on('close', () => void (check() || near.destroy()));
    silencers.push(() => (cut = true));
  });
  const silencers: (() => void)[] = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  peers.onClose(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    /** Of all connections there are; `lasting` also of those to come. */
    fallSilent(lasting: boolean): void {
      for (const silence of silencers.splice(0)) silence();
      silent = lasting;
    },
    speakAgain(): void {
      silent = false;
    },
  };
}

function clientOf(port: number, tls = true, logger = recordedLog()) {
  const client = grpcClient(RelayerService, `127.0.0.1:${port}`, { certificates: tls ? peers.workload('operator') : undefined, logger });
  peers.onClose(() => {
    client.close();
  });
  return client;
}

describe('a connection', () => {
  it('that goes silent during a call is noticed within 10 s, and the call is made again', { timeout: 30_000 }, async () => {
    const { port } = await peers.relayer();
    const wire = await wireTo(port);
    const client = clientOf(wire.port);
    await client.listLanes(all);
    wire.fallSilent(false);
    const startedMs = performance.now();
    await client.listLanes(all, { idempotent: true, deadlineMs: 20_000 });
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(wire.accepted()).toBe(2);
  });

  it('that is taken and never answered is given up after 4 s and made anew', { timeout: 30_000 }, async () => {
    const { port } = await peers.relayer();
    const wire = await wireTo(port);
    wire.fallSilent(true);
    const log = recordedLog();
    const client = clientOf(wire.port, true, log);
    const startedMs = performance.now();
    const answer = client.listLanes(all, { idempotent: true, deadlineMs: 20_000 });
    await sleep(1_000);
    // The Service has found another pod meanwhile; the connection that hangs would not.
    wire.speakAgain();
    await answer;
    expect(performance.now() - startedMs).toBeLessThan(8_000);
    expect(log.lines).toContainEqual(expect.objectContaining({ message: expect.stringContaining('tried anew') as string }));
  });

  it('that is never answered does not outlive calls that give up earlier, as a health check’s', { timeout: 30_000 }, async () => {
    const { port } = await peers.relayer();
    const wire = await wireTo(port);
    wire.fallSilent(true);
    const client = clientOf(wire.port);
    // Neither lives long enough to see the four seconds through; the time counts on from the first.
    for (let i = 0; i < 2; i += 1) expect(await failureOf(client.listLanes(all, { deadlineMs: 1_500 }))).toMatchObject({ name: 'OperationalError' });
    wire.speakAgain();
    await client.listLanes(all, { deadlineMs: 3_000, idempotent: true });
  });
});

describe.each([['plain text', false], ['mutual TLS', true]])('a connection over %s', (_what, tls) => {
  const relayer = (options: Parameters<Peers['relayer']>[0] = {}) => peers.relayer(tls ? options : { ...options, certificates: undefined });

  it('that ends for its age fails no call, although none is repeated', { timeout: 30_000 }, async () => {
    const connections = new Set<string>();
    const { port } = await relayer({
      connectionAgeMsMax: 80,
      listLanes: async (_request, call) => {
        connections.add(call.peer);
        // Some outlast their connection's age by far.
        await sleep(connections.size % 3 === 0 ? 200 : 3);
        return { lanes: [] };
      },
    });
    const failures: unknown[] = [];
    const client = clientOf(port, tls);
    const endMs = performance.now() + 2_500;
    await Promise.all(
      Array.from({ length: 6 }, async () => {
        while (performance.now() < endMs) await client.listLanes(all).catch((error: unknown) => failures.push(error));
      }),
    );
    expect(failures).toEqual([]);
    expect(connections.size).toBeGreaterThan(5);
  });

  it('that a server ends to stop fails no call in hand, and calls that follow find the next server', { timeout: 30_000 }, async () => {
    const entered = Promise.withResolvers<void>();
    const first = await relayer({
      listLanes: async () => {
        entered.resolve();
        await sleep(300);
        return { lanes: [] };
      },
    });
    const client = clientOf(first.port, tls);
    const inHand = client.listLanes(all);
    await entered.promise;
    const stopped = first.stop(5_000);
    const after = client.listLanes(all, { idempotent: true, deadlineMs: 10_000 });
    await inHand;
    expect(await stopped).toEqual({ drained: true });
    await relayer({ port: first.port });
    await after;
  });
});

describe('a peer that is killed', () => {
  it('costs an idempotent call nothing but time', { timeout: 30_000 }, async () => {
    const program = join(import.meta.dirname, '..', 'test', 'killed-relayer.ts');
    const start = (port: number) => {
      const child = spawn(process.execPath, ['tools/run.mjs', 'exec', program, String(port)], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
      const listening = new Promise<number>((resolve) => child.stdout.once('data', (text: Buffer) => resolve(Number(text.toString()))));
      // The program runs below the runner: the group is killed.
      const kill = () => {
        if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
      };
      peers.onClose(kill);
      return { listening, kill };
    };
    const first = start(0);
    const port = await first.listening;
    const client = peers.client(port, undefined);
    await client.listLanes({ chainId: '' });
    // Held by the handler: the kill comes while the call is in hand.
    const held = client.listLanes({ chainId: 'hold' }, { idempotent: true, deadlineMs: 20_000 });
    await sleep(200);
    first.kill();
    const unsafe = failureOf(client.listLanes({ chainId: '' }, { deadlineMs: 1_000 }));
    const second = start(port);
    await second.listening;
    await held;
    // What was not said to be idempotent was tried once, and found nobody.
    expect(await unsafe).toMatchObject({ name: 'OperationalError' });
  });
});

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RelayerEvent } from '../src/relayer.events';
import { readAll, until } from './in-process';
import type { RelayerWorld } from './relayer-world';

/** Blocks come when the test says so; the fee market does what the test says. */
export class ManualChain {
  constructor(private readonly world: RelayerWorld) {}

  async hold(): Promise<void> {
    await this.world.rpc.call('evm_setIntervalMining', [0]);
  }

  async mine(blocks = 1): Promise<void> {
    for (let i = 0; i < blocks; i += 1) await this.world.rpc.call('evm_mine', []);
  }

  /** One block at this base fee; while blocks are empty each later one costs an eighth less. */
  async mineAt(gwei: number): Promise<void> {
    await this.world.rpc.call('anvil_setNextBlockBaseFeePerGas', [`0x${BigInt(Math.round(gwei * 1e9)).toString(16)}`]);
    await this.mine();
  }

  /** A block at a time, each only when the one before has been looked at, until it holds. `gwei` keeps the fee where it is. */
  async mineUntil(what: string, holds: () => Promise<boolean>, options: { blocks?: number; gwei?: number; pauseMs?: number } = {}): Promise<void> {
    const { blocks = 60, gwei, pauseMs = 150 } = options;
    for (let i = 0; i < blocks; i += 1) {
      if (await holds()) return;
      await (gwei === undefined ? this.mine() : this.mineAt(gwei));
      const end = Date.now() + pauseMs;
      while (Date.now() < end) {
        if (await holds()) return;
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
    throw new Error(`${blocks} blocks were not enough until ${what}`);
  }

  async height(): Promise<bigint> {
    return BigInt(String(await this.world.rpc.call('eth_blockNumber', [])));
  }

  async inPool(hash: string): Promise<boolean> {
    const found = await this.world.rpc.call('eth_getTransactionByHash', [hash]);
    return typeof found === 'object' && found !== null && (found as { blockHash?: unknown }).blockHash === null;
  }

  async isMined(hash: string): Promise<boolean> {
    return (await this.world.rpc.call('eth_getTransactionReceipt', [hash])) !== null;
  }
}

type Of<T extends RelayerEvent['type']> = Extract<RelayerEvent, { type: T }>;

/** One relayer's log, read anew each time. */
export class RecordedLog {
  constructor(private readonly databaseUrl: string) {}

  async all(): Promise<readonly RelayerEvent[]> {
    return (await readAll(this.databaseUrl)).map(({ event }) => event);
  }

  /** Events of one type about the transactions that ever held the intent, in their order. */
  async of<T extends RelayerEvent['type']>(type: T, intentId: string): Promise<readonly Of<T>[]> {
    const events = await this.all();
    const own = new Set(events.flatMap((event) => (event.type === 'TransactionPlanned' && event.intentIds.includes(intentId) ? [event.transactionId] : [])));
    return events.filter((event): event is Of<T> => event.type === type && 'transactionId' in event && own.has(event.transactionId));
  }

  async waitFor<T extends RelayerEvent['type']>(type: T, intentId: string, count = 1): Promise<readonly Of<T>[]> {
    await until(`${count} ${type} of ${intentId}`, async () => (await this.of(type, intentId)).length >= count, 15_000);
    return this.of(type, intentId);
  }

  /** How often the intent was executed, in final transactions. */
  async executions(intentId: string): Promise<number> {
    return (await this.all()).flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes : [])).filter((it) => it.intentId === intentId && it.executed).length;
  }
}

interface Hook {
  /** Runs before the request goes on; answering something other than undefined answers it here. */
  (method: string, params: readonly unknown[]): Promise<unknown>;
}

export interface HookedRpc {
  readonly url: string;
  hook: Hook | undefined;
  stop(): Promise<void>;
}

/** Passes JSON-RPC on to a node and lets a test step in between. An answer `{ error }` is a refusal. */
export async function hookRpc(targetUrl: string): Promise<HookedRpc> {
  const state: { hook: Hook | undefined } = { hook: undefined };
  const one = async (call: { id: unknown; method: string; params: readonly unknown[] }): Promise<unknown> => {
    const said = await state.hook?.(call.method, call.params);
    if (said !== undefined) return { jsonrpc: '2.0', id: call.id, ...(said as object) };
    const response = await fetch(targetUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(call) });
    return response.json();
  };
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text)).on('end', () => {
      const parsed = JSON.parse(body) as Parameters<typeof one>[0] | Parameters<typeof one>[0][];
      const answer = Array.isArray(parsed) ? inOrder(parsed, one) : one(parsed);
      answer.then(
        (said) => response.setHeader('content-type', 'application/json').end(JSON.stringify(said)),
        (error: unknown) => response.writeHead(502).end(String(error)),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get hook() {
      return state.hook;
    },
    set hook(next) {
      state.hook = next;
    },
    stop: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}

async function inOrder<T, R>(items: readonly T[], each: (item: T) => Promise<R>): Promise<readonly R[]> {
  const answers: R[] = [];
  for (const item of items) answers.push(await each(item));
  return answers;
}

import { quantity } from '@settlement/chain/hex';
import { withResult, type Exchange, type RpcItem, type RpcReply } from './exchange';

/** One way in which an endpoint misbehaves. `lies` are those that say what is not so; the others only say nothing, or late. */
export interface Fault {
  readonly name: string;
  readonly lies: boolean;
  /** Whether it has anything to spoil in this request; else the request passes. */
  concerns(items: readonly RpcItem[]): boolean;
  handle(exchange: Exchange): Promise<void>;
}

const BROADCAST = 'eth_sendRawTransaction';
const broadcasts = (items: readonly RpcItem[]): boolean => items.some(({ method }) => method === BROADCAST);
const asks = (...methods: readonly string[]) => (items: readonly RpcItem[]): boolean => items.some(({ method }) => methods.includes(method));
const anything = (): boolean => true;
/** Another hash of the same shape. */
const twisted = (hash: unknown): string => `0x${[...String(hash).slice(2)].map((digit) => (15 - Number.parseInt(digit, 16)).toString(16)).join('')}`;

async function spoil(exchange: Exchange, change: (item: RpcItem, reply: RpcReply) => RpcReply): Promise<void> {
  const replies = await exchange.forward();
  exchange.answer(replies.map((reply, i) => (exchange.items[i] === undefined ? reply : change(exchange.items[i], reply))));
}

/** The node has the transaction; the caller sees its connection break. */
export class DropAnswerAfterBroadcast implements Fault {
  readonly name = 'drops the answer after a broadcast reached the node';
  readonly lies = false;
  readonly concerns = broadcasts;

  async handle(exchange: Exchange): Promise<void> {
    await exchange.forward();
    exchange.reset();
  }
}

/** The node has the transaction; the caller runs into its timeout. */
export class SilenceAfterBroadcast implements Fault {
  readonly name = 'never answers a broadcast that reached the node';
  readonly lies = false;
  readonly concerns = broadcasts;

  async handle(exchange: Exchange): Promise<void> {
    await exchange.forward();
  }
}

export class Delay implements Fault {
  readonly name: string;
  readonly lies = false;
  readonly concerns = anything;

  constructor(readonly delayMs: number) {
    this.name = `answers ${delayMs} ms late`;
  }

  async handle(exchange: Exchange): Promise<void> {
    const replies = await exchange.forward();
    await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    exchange.answer(replies);
  }
}

/** As a retrying gateway does: the caller hears what the node said the second time. */
export class DuplicateRequest implements Fault {
  readonly name = 'sends the request to the node twice';
  readonly lies = false;
  readonly concerns = anything;

  async handle(exchange: Exchange): Promise<void> {
    await exchange.forward();
    exchange.answer(await exchange.forward());
  }
}

/** A node that has stopped importing: head, counts and receipts as of some blocks ago, consistently. */
export class StaleHead implements Fault {
  readonly name: string;
  readonly lies = false;
  readonly concerns = asks('eth_getBlockByNumber', 'eth_getTransactionCount', 'eth_getTransactionReceipt');

  constructor(readonly blocks: bigint) {
    this.name = `is ${blocks} blocks behind`;
  }

  async handle(exchange: Exchange): Promise<void> {
    const latest = BigInt(String(await exchange.ask('eth_blockNumber', [])));
    const head = latest > this.blocks ? latest - this.blocks : 0n;
    const items = exchange.items.map((item): RpcItem => {
      if (item.method === 'eth_getBlockByNumber' && item.params[0] === 'latest') return { ...item, params: [quantity(head), item.params[1]] };
      if (item.method === 'eth_getTransactionCount' && item.params[1] === 'latest') return { ...item, params: [item.params[0], quantity(head)] };
      return item;
    });
    const replies = await exchange.forward(items);
    exchange.answer(
      replies.map((reply, i) => {
        const item = items[i];
        const asked = String(item?.params[item.method === 'eth_getBlockByNumber' ? 0 : 1]);
        const beyond = /^0x[0-9a-f]+$/.test(asked) && BigInt(asked) > head;
        if (item?.method === 'eth_getBlockByNumber' && beyond) return withResult(reply, null);
        if (item?.method === 'eth_getTransactionCount' && beyond) return { jsonrpc: '2.0', id: reply.id, error: { code: -32_000, message: 'header not found' } };
        const receipt = reply.result;
        const mined = typeof receipt === 'object' && receipt !== null && 'blockNumber' in receipt ? BigInt(String(receipt.blockNumber)) : undefined;
        return item?.method === 'eth_getTransactionReceipt' && mined !== undefined && mined > head ? withResult(reply, null) : reply;
      }),
    );
  }
}

/** Positive: ahead of the truth; negative: behind it, at every height. */
export class LyingNonce implements Fault {
  readonly name: string;
  readonly lies = true;
  readonly concerns = asks('eth_getTransactionCount');

  constructor(readonly by: bigint) {
    this.name = `says nonces that are ${by > 0n ? `${by} too high` : `${-by} too low`}`;
  }

  handle(exchange: Exchange): Promise<void> {
    return spoil(exchange, (item, reply) => {
      if (item.method !== 'eth_getTransactionCount' || typeof reply.result !== 'string') return reply;
      const said = BigInt(reply.result) + this.by;
      return withResult(reply, quantity(said < 0n ? 0n : said));
    });
  }
}

export class MissingReceipts implements Fault {
  readonly name = 'knows no receipts';
  readonly lies = true;
  readonly concerns = asks('eth_getTransactionReceipt');

  handle(exchange: Exchange): Promise<void> {
    return spoil(exchange, (item, reply) => (item.method === 'eth_getTransactionReceipt' ? withResult(reply, null) : reply));
  }
}

/** Says that transactions reverted which did not, in a block of its own, without their logs. */
export class LyingReceipts implements Fault {
  readonly name = 'gives receipts of failure from a block of its own';
  readonly lies = true;
  readonly concerns = asks('eth_getTransactionReceipt');

  async handle(exchange: Exchange): Promise<void> {
    const head = await exchange.ask('eth_blockNumber', []);
    await spoil(exchange, (item, reply) => {
      if (item.method !== 'eth_getTransactionReceipt') return reply;
      const invented = { transactionHash: item.params[0], blockNumber: head, blockHash: twisted(item.params[0]), status: '0x0', gasUsed: '0x5208', effectiveGasPrice: '0x1', logs: [] };
      return withResult(reply, typeof reply.result === 'object' && reply.result !== null ? { ...reply.result, status: '0x0', logs: [], blockHash: invented.blockHash } : invented);
    });
  }
}

/** Says that whatever is tried would revert. */
export class LyingSimulations implements Fault {
  readonly name = 'says that every simulated call reverts';
  readonly lies = true;
  readonly concerns = asks('eth_simulateV1');

  handle(exchange: Exchange): Promise<void> {
    return spoil(exchange, (item, reply) =>
      item.method === 'eth_simulateV1' ? withResult(reply, [{ calls: [{ status: '0x0', returnData: '0x', gasUsed: '0x5208', logs: [], error: { code: 3, message: 'execution reverted' } }] }]) : reply,
    );
  }
}

/** Right chain id, wrong blocks: a fork that nobody else is on. */
export class OtherBlocks implements Fault {
  readonly name = 'serves blocks that nobody else has';
  readonly lies = true;
  readonly concerns = asks('eth_getBlockByNumber');

  handle(exchange: Exchange): Promise<void> {
    return spoil(exchange, (item, reply) =>
      item.method === 'eth_getBlockByNumber' && typeof reply.result === 'object' && reply.result !== null ? withResult(reply, { ...reply.result, hash: twisted((reply.result as { hash?: unknown }).hash) }) : reply,
    );
  }
}

export class OtherChain implements Fault {
  readonly name = 'serves another chain';
  readonly lies = true;
  readonly concerns = asks('eth_chainId', 'eth_getBlockByNumber');

  handle(exchange: Exchange): Promise<void> {
    return spoil(exchange, (item, reply) => {
      if (item.method === 'eth_chainId') return withResult(reply, '0x539');
      return item.method === 'eth_getBlockByNumber' && typeof reply.result === 'object' && reply.result !== null ? withResult(reply, { ...reply.result, hash: twisted((reply.result as { hash?: unknown }).hash), number: '0x10' }) : reply;
    });
  }
}

export class TooManyRequests implements Fault {
  readonly name: string;
  readonly lies = false;
  readonly concerns = anything;

  constructor(readonly retryAfterS?: number) {
    this.name = `429 ${retryAfterS === undefined ? 'without Retry-After' : `with Retry-After ${retryAfterS}`}`;
  }

  handle(exchange: Exchange): Promise<void> {
    exchange.respond(429, { 'content-type': 'text/plain', ...(this.retryAfterS === undefined ? {} : { 'retry-after': String(this.retryAfterS) }) }, 'slow down');
    return Promise.resolve();
  }
}

/** A limit that is said in JSON with HTTP 200, item by item (EIP-1474, -32005). */
export class LimitInJson implements Fault {
  readonly name = 'says in JSON that a limit is exceeded';
  readonly lies = false;
  readonly concerns = anything;

  handle(exchange: Exchange): Promise<void> {
    exchange.answer(exchange.items.map(({ id }) => ({ jsonrpc: '2.0', id, error: { code: -32_005, message: 'limit exceeded' } })));
    return Promise.resolve();
  }
}

/** Whether the node saw the request is what the caller cannot know. */
export class BadGateway implements Fault {
  readonly name: string;
  readonly lies = false;
  readonly concerns = anything;

  constructor(readonly reachesNode: boolean) {
    this.name = `502 in HTML, ${reachesNode ? 'after' : 'before'} the node`;
  }

  async handle(exchange: Exchange): Promise<void> {
    if (this.reachesNode) await exchange.forward();
    exchange.respond(502, { 'content-type': 'text/html' }, '<html><body><h1>502 Bad Gateway</h1></body></html>');
  }
}

/** Accepts and never answers; the node never sees it. */
export class HalfOpenSocket implements Fault {
  readonly name = 'accepts and never answers';
  readonly lies = false;
  readonly concerns = anything;

  handle(): Promise<void> {
    return Promise.resolve();
  }
}

export class HalfBody implements Fault {
  readonly name = 'answers half a body and stalls';
  readonly lies = false;
  readonly concerns = anything;

  async handle(exchange: Exchange): Promise<void> {
    exchange.answerHalf(await exchange.forward());
  }
}

export class ConnectionReset implements Fault {
  readonly name = 'resets the connection before the node';
  readonly lies = false;
  readonly concerns = anything;

  handle(exchange: Exchange): Promise<void> {
    exchange.reset();
    return Promise.resolve();
  }
}

/** The node has seen all; the caller hears of all but one. */
export class OneItemWithoutAnswer implements Fault {
  readonly name: string;
  readonly lies = false;
  readonly concerns = (items: readonly RpcItem[]): boolean => items.length > 1;

  constructor(readonly how: 'left out' | 'an internal error') {
    this.name = `one item of a batch is ${how}`;
  }

  async handle(exchange: Exchange): Promise<void> {
    const replies = await exchange.forward();
    const last = replies.length - 1;
    exchange.answer(this.how === 'left out' ? replies.slice(0, last) : replies.map((reply, i) => (i === last ? { jsonrpc: '2.0', id: reply.id, error: { code: -32_603, message: 'Internal error' } } : reply)));
  }
}

/** Keeps broadcasts from the node and answers them itself: with an error's text, or as if all were well. */
export class SwallowsBroadcasts implements Fault {
  readonly name: string;
  readonly lies = true;
  readonly concerns = broadcasts;

  constructor(readonly message?: string) {
    this.name = `swallows broadcasts and says ${message === undefined ? 'that it took them' : `"${message}"`}`;
  }

  async handle(exchange: Exchange): Promise<void> {
    const others = exchange.items.filter(({ method }) => method !== BROADCAST);
    const replies = new Map((others.length === 0 ? [] : await exchange.forward(others)).map((reply) => [reply.id, reply]));
    exchange.answer(
      exchange.items.map(({ id }): RpcReply => {
        const own: RpcReply = this.message === undefined ? { jsonrpc: '2.0', id, result: `0x${'ab'.repeat(32)}` } : { jsonrpc: '2.0', id, error: { code: -32_000, message: this.message } };
        return replies.get(id) ?? own;
      }),
    );
  }
}

/** A node that does not offer some method, as many do not. */
export class LacksMethod implements Fault {
  readonly name: string;
  readonly lies = false;
  readonly concerns: (items: readonly RpcItem[]) => boolean;

  constructor(readonly method: string) {
    this.name = `does not offer ${method}`;
    this.concerns = asks(method);
  }

  async handle(exchange: Exchange): Promise<void> {
    const offered = exchange.items.filter(({ method }) => method !== this.method);
    const replies = new Map((offered.length === 0 ? [] : await exchange.forward(offered)).map((reply) => [reply.id, reply]));
    exchange.answer(exchange.items.map(({ id, method }) => replies.get(id) ?? { jsonrpc: '2.0', id, error: { code: -32_601, message: `the method ${method} does not exist/is not available` } }));
  }
}

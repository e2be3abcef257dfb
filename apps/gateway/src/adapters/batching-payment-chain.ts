import { quantity } from '@settlement/chain/hex';
import type { EvmAddress } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import { NO_ANSWER, RpcRefused, type JsonRpc, type RpcAnswer, type RpcRequest } from '@settlement/chain/rpc';
import type { ChainLog, ChainQuery, ChainReading, PaymentChain } from '../ports/payment-chain';

/** Nodes that are public cap a batch at 100 requests. */
const BATCH_MAX = 100;
/** One batch at the node, one on its way, while the next gathers: more would only make the batches smaller. */
const IN_FLIGHT_MAX = 3;
/** What one request for logs may span on most public nodes. */
const LOG_BLOCKS_MAX = 2_000n;
const LOG_REQUESTS_MAX = 25;

interface Waiting {
  readonly request: RpcRequest;
  resolve(answer: RpcAnswer): void;
  reject(error: unknown): void;
}

/**
 * JSON-RPC with everything that waits at the same time in one HTTP request: a verification costs one round trip, and many
 * verifications at once cost one as well. The first endpoint that answers counts; a wrong answer can refuse a good payment or
 * let a bad one on to the relayer, which asks again and simulates before it signs, but it can never move money.
 */
export class BatchingPaymentChain implements PaymentChain {
  private readonly queue: Waiting[] = [];
  private inFlight = 0;

  constructor(
    private readonly endpoints: readonly JsonRpc[],
    private readonly blockTimeMs: number,
  ) {}

  async read(queries: readonly ChainQuery[]): Promise<readonly ChainReading[]> {
    const answers = await Promise.all(queries.map((query) => this.ask(requestOf(query))));
    return answers.map((answer, i): ChainReading => {
      if (answer.ok) return queries[i]?.kind === 'sequence' ? lastOf(answer.result) : { ok: true, hex: hexOf(answer.result) };
      // Only a call can be answered with a revert; a node that cannot read code has answered nothing.
      if (queries[i]?.kind !== 'call' || answer.error === NO_ANSWER || !isRevert(answer.error)) throw new RpcRefused(queries[i]?.kind ?? 'call', answer.error);
      return { ok: false, message: answer.error.message };
    });
  }

  async logs(address: EvmAddress, topics: readonly (string | null)[], within: Parameters<PaymentChain['logs']>[2]): Promise<readonly ChainLog[]> {
    if ('block' in within) return logsOf(await this.result('eth_getLogs', [{ address, topics, fromBlock: quantity(within.block), toBlock: quantity(within.block) }]));
    const latest = BigInt(hexOf(await this.result('eth_blockNumber', [])));
    // Blocks can come faster than expected: twice as many, and a few.
    const span = BigInt(Math.ceil((within.secondsBack * 2_000) / this.blockTimeMs)) + 10n;
    let to = latest;
    const oldest = latest > span ? latest - span : 0n;
    for (let requests = 0; requests < LOG_REQUESTS_MAX && to >= oldest; requests += 1) {
      const from = to - LOG_BLOCKS_MAX + 1n > oldest ? to - LOG_BLOCKS_MAX + 1n : oldest;
      const found = logsOf(await this.result('eth_getLogs', [{ address, topics, fromBlock: quantity(from), toBlock: quantity(to) }]));
      if (found.length > 0 || from === oldest) return found;
      to = from - 1n;
    }
    return [];
  }

  async inputOf(transactionHash: string): Promise<string | undefined> {
    const transaction = await this.result('eth_getTransactionByHash', [transactionHash]);
    return typeof transaction === 'object' && transaction !== null && 'input' in transaction && typeof transaction.input === 'string' ? transaction.input : undefined;
  }

  private async result(method: string, params: readonly unknown[]): Promise<unknown> {
    const answer = await this.ask({ method, params });
    if (!answer.ok) throw new RpcRefused(method, answer.error);
    return answer.result;
  }

  private ask(request: RpcRequest): Promise<RpcAnswer> {
    return new Promise((resolve, reject) => {
      this.queue.push({ request, resolve, reject });
      if (this.queue.length === 1) this.pump();
    });
  }

  private pump(): void {
    // After the current turn of the event loop: requests that were read from sockets together ask together.
    setImmediate(() => {
      while (this.queue.length > 0 && this.inFlight < IN_FLIGHT_MAX) {
        const batch = this.queue.splice(0, BATCH_MAX);
        this.inFlight += 1;
        void this.send(batch).finally(() => {
          this.inFlight -= 1;
          if (this.queue.length > 0) this.pump();
        });
      }
    });
  }

  private async send(batch: readonly Waiting[]): Promise<void> {
    let failure: unknown = new OperationalError('NO_ENDPOINT', 'no endpoint is configured', 'not-done');
    for (const endpoint of this.endpoints) {
      try {
        const answers = await endpoint.batch(batch.map(({ request }) => request));
        batch.forEach(({ resolve }, i) => {
          resolve(answers[i] ?? { ok: false, error: NO_ANSWER });
        });
        return;
      } catch (error) {
        failure = error;
      }
    }
    for (const { reject } of batch) reject(failure);
  }
}

function requestOf(query: ChainQuery): RpcRequest {
  switch (query.kind) {
    case 'code':
      return { method: 'eth_getCode', params: [query.address, 'latest'] };
    case 'call':
      return { method: 'eth_call', params: [{ to: query.to, data: query.data }, 'latest'] };
    case 'sequence':
      // Of the execution API, in every client since 2025; needs no contract on the chain, as Multicall3 would be one.
      return { method: 'eth_simulateV1', params: [{ blockStateCalls: [{ calls: query.calls.map(({ to, data }) => ({ to, input: data })) }], validation: false }, 'latest'] };
  }
}

function lastOf(result: unknown): ChainReading {
  const block: unknown = Array.isArray(result) ? result[0] : undefined;
  const calls: unknown = typeof block === 'object' && block !== null && 'calls' in block ? block.calls : undefined;
  const last: unknown = Array.isArray(calls) ? calls.at(-1) : undefined;
  if (typeof last !== 'object' || last === null || !('status' in last)) throw new OperationalError('RPC_MALFORMED', 'expected the results of simulated calls', 'not-done');
  if (last.status === '0x1') return { ok: true, hex: hexOf('returnData' in last ? last.returnData : '0x') };
  const error: unknown = 'error' in last ? last.error : undefined;
  return { ok: false, message: typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : 'reverted' };
}

/** Code 3 is a revert by the execution API; older nodes say -32000 or -32015 with the word. */
function isRevert({ code, message }: { readonly code: number; readonly message: string }): boolean {
  return code === 3 || code === -32015 || /revert|out ?of ?gas|invalid opcode|EVM error|VM execution|stack/i.test(message);
}

function hexOf(result: unknown): string {
  if (typeof result === 'string' && /^0x[0-9a-fA-F]*$/.test(result)) return result.toLowerCase();
  throw new OperationalError('RPC_MALFORMED', 'expected hex', 'not-done');
}


function logsOf(result: unknown): readonly ChainLog[] {
  if (!Array.isArray(result)) throw new OperationalError('RPC_MALFORMED', 'expected logs', 'not-done');
  return result.map((log: unknown): ChainLog => {
    const { transactionHash, blockNumber, logIndex, topics, data } = log as Readonly<Record<string, unknown>>;
    if (!Array.isArray(topics)) throw new OperationalError('RPC_MALFORMED', 'expected topics', 'not-done');
    return { transactionHash: hexOf(transactionHash), blockNumber: BigInt(hexOf(blockNumber)), logIndex: Number(hexOf(logIndex)), topics: topics.map(hexOf), data: hexOf(data) };
  });
}

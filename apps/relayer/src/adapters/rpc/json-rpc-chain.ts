import { quantity as hex } from '@settlement/chain/hex';
import { RpcHttpFailure, RpcRefused, type JsonRpc, type RpcRequest } from '@settlement/chain/rpc';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { FeeObservation } from '../../lane/fee.policy';
import type { BroadcastOutcome, Broadcaster } from '../../ports/broadcaster';
import type { CallOutcome, CallRequest, ChainHead, ChainReader, Receipt, SentCall, Simulation, SimulationOptions } from '../../ports/chain-reader';
import type { ReceiptVote } from './agreement.policy';
import { classify, type NodeAnswer } from './answer-classification.policy';
import { JsonRpcSimulator } from './json-rpc-simulator';
import { list, logOf, malformed, quantity, record, revertData, text } from './json-rpc-values';

/** One JSON-RPC endpoint as reader and broadcaster. `EndpointSet` puts several behind the same ports. */
export class JsonRpcChain implements ChainReader, Broadcaster {
  readonly #simulator: JsonRpcSimulator;

  constructor(private readonly rpc: JsonRpc) {
    this.#simulator = new JsonRpcSimulator(rpc);
  }

  async chainId(): Promise<bigint> {
    return quantity('eth_chainId', await this.rpc.call('eth_chainId', []));
  }

  async head(): Promise<ChainHead> {
    return headOf(await this.rpc.call('eth_getBlockByNumber', ['latest', false]));
  }

  /** The canonical block of this height; `undefined` where the node does not have it (yet). */
  async headAt(number: bigint): Promise<ChainHead | undefined> {
    const block = await this.rpc.call('eth_getBlockByNumber', [hex(number), false]);
    return block === null ? undefined : headOf(block);
  }

  /** As of this height. A node that is behind it refuses. */
  async transactionCountAt(address: EvmAddress, height: bigint): Promise<bigint> {
    return quantity('eth_getTransactionCount', await this.rpc.call('eth_getTransactionCount', [address, hex(height)]));
  }

  async taggedHeight(tag: 'finalized' | 'safe'): Promise<bigint | undefined> {
    const block = await this.rpc.call('eth_getBlockByNumber', [tag, false]);
    return block === null ? undefined : headOf(block).number;
  }

  async balanceWeiAt(address: EvmAddress, height: bigint): Promise<bigint> {
    return quantity('eth_getBalance', await this.rpc.call('eth_getBalance', [address, hex(height)]));
  }

  /** The receipts, and how far the node had got before it looked for them. One round trip. */
  async receiptVote(hashes: readonly string[]): Promise<ReceiptVote> {
    const [head, ...answers] = await this.#many([
      { method: 'eth_getBlockByNumber', params: ['latest', false] },
      ...hashes.map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] })),
    ]);
    return { height: headOf(head).number, receipts: receiptsOf(hashes, answers) };
  }

  async blockHashes(numbers: readonly bigint[]): Promise<ReadonlyMap<bigint, string | undefined>> {
    const blocks = await this.#many(numbers.map((number) => ({ method: 'eth_getBlockByNumber', params: [hex(number), false] })));
    return new Map(numbers.map((number, i) => [number, blocks[i] === null ? undefined : text('hash', record('eth_getBlockByNumber', blocks[i])['hash'])]));
  }

  async transactionCount(address: EvmAddress): Promise<bigint> {
    return quantity('eth_getTransactionCount', await this.rpc.call('eth_getTransactionCount', [address, 'latest']));
  }

  async balanceWei(address: EvmAddress): Promise<bigint> {
    return quantity('eth_getBalance', await this.rpc.call('eth_getBalance', [address, 'latest']));
  }

  async receipts(hashes: readonly string[]): Promise<ReadonlyMap<string, Receipt | undefined>> {
    const answers = await this.#many(hashes.map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] })));
    return receiptsOf(hashes, answers);
  }

  async sentCalls(hashes: readonly string[]): Promise<ReadonlyMap<string, SentCall>> {
    const answers = await this.#many(hashes.map((hash) => ({ method: 'eth_getTransactionByHash', params: [hash] })));
    return new Map(
      hashes.flatMap((hash, i): [string, SentCall][] => {
        if (answers[i] === null) return [];
        const { to, input } = record('eth_getTransactionByHash', answers[i]);
        return [[hash, { to: to === null ? '' : text('to', to).toLowerCase(), data: text('input', input).toLowerCase() }]];
      }),
    );
  }

  async fees(): Promise<FeeObservation> {
    const history = record('eth_feeHistory', await this.rpc.call('eth_feeHistory', ['0x5', 'latest', [50]]));
    const baseFees = list('baseFeePerGas', history['baseFeePerGas']);
    const rewards = history['reward'] === undefined || history['reward'] === null ? [] : list('reward', history['reward']);
    return {
      baseFeeWei: quantity('baseFeePerGas', baseFees[baseFees.length - 1]),
      priorityFeesWei: rewards.map((reward) => quantity('reward', list('reward', reward)[0])),
    };
  }

  async calls(requests: readonly CallRequest[]): Promise<readonly CallOutcome[]> {
    const answers = await this.rpc.batch(
      requests.map(({ from, to, data, gas, valueWei }) => ({ method: 'eth_call', params: [{ from, to, data, gas: hex(gas), ...(valueWei === undefined ? {} : { value: hex(valueWei) }) }, 'latest'] })),
    );
    return answers.map((answer): CallOutcome => {
      if (answer.ok) return { ok: true, data: text('eth_call', answer.result) };
      const data = revertData(answer.error.data);
      // Code 3 is a revert (EIP-1474's successor in execution-apis); a node's own trouble says nothing about the call.
      if (answer.error.code === 3 || data !== undefined || /revert/i.test(answer.error.message)) {
        return { ok: false, data: data ?? '0x', message: answer.error.message };
      }
      throw new RpcRefused('eth_call', answer.error);
    });
  }

  simulate(requests: readonly CallRequest[], options: SimulationOptions): Promise<readonly Simulation[] | undefined> {
    return this.#simulator.simulate(requests, options);
  }

  async logs(filter: { readonly address: EvmAddress; readonly topics: readonly (string | null)[]; readonly fromBlock: bigint }) {
    const answer = await this.rpc.call('eth_getLogs', [{ address: filter.address, topics: filter.topics, fromBlock: hex(filter.fromBlock), toBlock: 'latest' }]);
    return list('eth_getLogs', answer).map((item) => {
      const log = record('log', item);
      return { ...logOf(log), transactionHash: text('transactionHash', log['transactionHash']) };
    });
  }

  async broadcast(raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]> {
    try {
      return await this.handOver(raws);
    } catch (error) {
      // One answer, or none, for all of them.
      const outcome = classify(failureOf(error));
      return raws.map(() => outcome);
    }
  }

  /** As `broadcast`, but throws when the exchange as a whole failed. */
  async handOver(raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]> {
    if (raws.length === 0) return [];
    const answers = await this.rpc.batch(raws.map((raw) => ({ method: 'eth_sendRawTransaction', params: [raw] })));
    return raws.map((_, i) => {
      const answer = answers[i];
      if (answer === undefined) return { outcome: 'unknown', why: 'no answer' };
      return classify(answer.ok ? { kind: 'result' } : { kind: 'error', ...answer.error });
    });
  }

  async #many(requests: readonly RpcRequest[]): Promise<readonly unknown[]> {
    if (requests.length === 0) return [];
    const answers = await this.rpc.batch(requests);
    return answers.map((answer, i) => {
      if (answer.ok) return answer.result;
      throw new RpcRefused(requests[i]?.method ?? 'request', answer.error);
    });
  }
}

/** A failed exchange as what is known of it. Not sent is certain only where the connection never stood. */
export function failureOf(error: unknown): NodeAnswer {
  if (error instanceof RpcRefused) return { kind: 'error', ...error.refusal };
  if (error instanceof RpcHttpFailure) return { kind: 'http', status: error.status };
  const why = error instanceof Error ? error.message : String(error);
  return { kind: 'transport', sent: error instanceof OperationalError && error.outcome === 'not-done' ? 'not-sent' : 'in-doubt', why };
}

function headOf(answer: unknown): ChainHead {
  const block = record('eth_getBlockByNumber', answer);
  return { number: quantity('number', block['number']), hash: text('hash', block['hash']), timestampS: quantity('timestamp', block['timestamp']) };
}

function receiptsOf(hashes: readonly string[], answers: readonly unknown[]): ReadonlyMap<string, Receipt | undefined> {
  return new Map(
    hashes.map((hash, i) => {
      if (answers[i] === null) return [hash, undefined];
      const receipt = receiptOf(record('eth_getTransactionReceipt', answers[i]));
      // A receipt of another transaction is no answer to the question.
      if (receipt.transactionHash.toLowerCase() !== hash.toLowerCase()) throw malformed('receipt of the transaction asked for');
      return [hash, receipt];
    }),
  );
}

function receiptOf(receipt: Readonly<Record<string, unknown>>): Receipt {
  return {
    transactionHash: text('transactionHash', receipt['transactionHash']),
    blockNumber: quantity('blockNumber', receipt['blockNumber']),
    blockHash: text('blockHash', receipt['blockHash']),
    status: quantity('status', receipt['status']) === 1n ? 1 : 0,
    gasUsed: quantity('gasUsed', receipt['gasUsed']),
    gasPriceWei: quantity('effectiveGasPrice', receipt['effectiveGasPrice']),
    logs: list('logs', receipt['logs']).map((log) => logOf(record('log', log))),
  };
}

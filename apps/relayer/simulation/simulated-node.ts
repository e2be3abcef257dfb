import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { Broadcaster, BroadcastOutcome, RefusalReason } from '../src/ports/broadcaster';
import type { CallOutcome, CallRequest, ChainHead, ChainReader, Receipt, ReceiptLog } from '../src/ports/chain-reader';
import type { FeeObservation } from '../src/lane/fee.policy';
import type { FaultCounts, Weather } from './faults';
import type { Incarnation } from './incarnation';
import type { Mutation } from './mutations';
import type { Prng } from './prng';
import type { Block, MinedTransaction, SimulatedChain, SubmitAnswer } from './simulated-chain';
import type { SignedLedger } from './simulated-keys';
import { logsOf } from './simulated-vault';

const NODE_MS = 6;

export interface NodeParts {
  readonly incarnation: Incarnation;
  readonly prng: Prng;
  readonly chain: SimulatedChain;
  readonly ledger: SignedLedger;
  readonly counts: FaultCounts;
  readonly weather: () => Weather;
  readonly eip155: bigint;
  /** Bytes are on their way to a node. */
  readonly sent: (raw: string) => void;
  readonly mutation: Mutation | undefined;
}

/** Reads the simulated chain, at times through a node that is a block behind. */
export class SimulatedReader implements ChainReader {
  constructor(protected readonly parts: NodeParts) {}

  chainId(): Promise<bigint> {
    return this.read('chain id', () => this.parts.eip155);
  }

  head(): Promise<ChainHead> {
    return this.read('head', (lag) => {
      const { chain } = this.parts;
      const block = chain.block(Math.max(0, chain.head.number - lag)) ?? chain.head;
      return { number: BigInt(block.number), hash: block.hash, timestampS: BigInt(block.timestampS) };
    });
  }

  blockHashes(numbers: readonly bigint[]): Promise<ReadonlyMap<bigint, string | undefined>> {
    return this.read('block hashes', (lag) => {
      const { chain, mutation } = this.parts;
      if (mutation === 'reorgs-ignored') return new Map(numbers.map((number) => [number, chain.firstHash(Number(number))]));
      return new Map(numbers.map((number) => [number, Number(number) > chain.head.number - lag ? undefined : chain.block(Number(number))?.hash]));
    });
  }

  transactionCount(address: EvmAddress): Promise<bigint> {
    return this.read('count', (lag) => (this.parts.mutation === 'pending-count' ? this.parts.chain.pendingCount(address, 0) : this.parts.chain.count(address, lag)));
  }

  transactionCountAt(address: EvmAddress, blockNumber: bigint): Promise<bigint> {
    if (this.parts.mutation === 'pending-count') return this.transactionCount(address);
    return this.read('count at', () => this.parts.chain.count(address, Math.max(0, this.parts.chain.head.number - Number(blockNumber))));
  }

  /** This chain names no final block: depth decides. */
  taggedHeight(_tag: 'finalized' | 'safe'): Promise<bigint | undefined> {
    return this.read('tag', () => undefined);
  }

  balanceWei(address: EvmAddress): Promise<bigint> {
    return this.read('balance', () => (this.parts.chain.dry.has(address) ? 10n ** 12n : 10n ** 20n));
  }

  receipts(hashes: readonly string[]): Promise<ReadonlyMap<string, Receipt | undefined>> {
    return this.read('receipts', (lag) => new Map(hashes.map((hash) => [hash, receiptOf(this.parts.chain.receipt(hash, lag))])));
  }

  fees(): Promise<FeeObservation> {
    return this.read('fees', () => ({ baseFeeWei: this.parts.chain.baseFeeWei, priorityFeesWei: [1_000_000_000n, 1_500_000_000n, 2_000_000_000n] }));
  }

  calls(requests: readonly CallRequest[]): Promise<readonly CallOutcome[]> {
    return this.read('calls', () => requests.map((): CallOutcome => (this.parts.chain.frozen ? { ok: false, data: '0xf0', message: 'execution reverted' } : { ok: true, data: '0x' })));
  }

  logs(filter: { readonly address: EvmAddress; readonly topics: readonly (string | null)[]; readonly fromBlock: bigint }): Promise<readonly (ReceiptLog & { readonly transactionHash: string })[]> {
    return this.read('logs', () => {
      const found: (ReceiptLog & { readonly transactionHash: string })[] = [];
      for (const { transaction } of this.parts.chain.mined()) {
        for (const log of logsOf(transaction.outcomes)) {
          if (filter.topics.every((topic, index) => topic === null || topic === log.topics[index]) && log.data === 'executed') found.push({ ...log, transactionHash: transaction.bytes.hash });
        }
      }
      return found;
    });
  }

  protected read<T>(what: string, perform: (lag: number) => T): Promise<T> {
    const { incarnation, prng, counts, weather } = this.parts;
    return incarnation.call({
      label: `node ${what}`,
      latencyMs: NODE_MS,
      notDone: () => new OperationalError('RPC_UNREACHABLE', 'the node did not answer', 'not-done'),
      perform: () => {
        const stale = prng.chance(weather().stalePerMille);
        if (stale) counts['stale-read'] += 1;
        return perform(stale ? 1 : 0);
      },
    });
  }
}

function receiptOf(found: { readonly block: Block; readonly transaction: MinedTransaction } | undefined): Receipt | undefined {
  if (found === undefined) return undefined;
  const { block, transaction } = found;
  return {
    transactionHash: transaction.bytes.hash,
    blockNumber: BigInt(block.number),
    blockHash: block.hash,
    status: transaction.status,
    gasUsed: transaction.gasUsed,
    gasPriceWei: transaction.gasPriceWei,
    logs: logsOf(transaction.outcomes),
  };
}

/** Hands bytes to every node; each has its own mempool, its own way to fail and its own answer. */
export class SimulatedBroadcaster implements Broadcaster {
  constructor(private readonly parts: NodeParts) {}

  broadcast(raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]> {
    const { incarnation, prng, chain, ledger, counts, weather, sent } = this.parts;
    return incarnation.call({
      label: `node broadcast ${raws.length}`,
      latencyMs: NODE_MS,
      perform: () =>
        raws.map((raw): BroadcastOutcome => {
          sent(raw);
          const bytes = ledger.read(raw);
          const answers: (SubmitAnswer | 'unknown')[] = [];
          for (let endpoint = 0; endpoint < chain.endpoints; endpoint += 1) {
            const trouble = prng.chance(weather().callUnknownPerMille);
            if (trouble && prng.chance(500)) {
              counts['broadcast-lost'] += 1;
              answers.push('unknown');
              continue;
            }
            const answer = chain.submit(bytes, endpoint);
            if (trouble) counts['broadcast-answer-lost'] += 1;
            answers.push(trouble ? 'unknown' : answer);
          }
          return outcomeOf(answers);
        }),
    });
  }
}

/** What the best of the nodes says. */
function outcomeOf(answers: readonly (SubmitAnswer | 'unknown')[]): BroadcastOutcome {
  if (answers.includes('accepted')) return { outcome: 'accepted' };
  if (answers.includes('known')) return { outcome: 'already-known' };
  if (answers.includes('nonce-used')) return { outcome: 'nonce-used', why: 'nonce too low' };
  if (answers.includes('unknown')) return { outcome: 'unknown', why: 'no answer' };
  const reason: RefusalReason = answers.includes('replacement-underpriced') ? 'REPLACEMENT_UNDERPRICED' : 'FEE_TOO_LOW';
  return { outcome: 'refused', reason, why: reason };
}

import type { FaultCounts } from './faults';
import type { Prng } from './prng';

/** What the token and the vault say of one item. `used`: it was executed before. */
export type ItemResult = 'executed' | 'used' | 'expired' | 'no-funds';

export interface ItemOutcome {
  readonly authorization: string;
  readonly result: ItemResult;
}

/** What a payer has signed, as far as it decides what the chain does with it. */
export interface AuthorizationTerms {
  readonly validBeforeS: number;
  readonly hasFunds: boolean;
}

/** Signed bytes and what they mean. The chain, unlike the product code, can see into them. */
export interface SignedBytes {
  readonly raw: string;
  readonly hash: string;
  readonly sender: string;
  readonly nonce: bigint;
  /** Authorizations that it executes, in order; empty for a transfer to the key itself. */
  readonly authorizations: readonly string[];
  readonly gasLimit: bigint;
  readonly feePerGasWeiMax: bigint;
  readonly priorityFeePerGasWeiMax: bigint;
  /** Not signed by any simulated process: somebody has the key. */
  readonly foreign: boolean;
}

export interface MinedTransaction {
  readonly bytes: SignedBytes;
  /** 0: reverted as a whole, nothing in it happened. */
  readonly status: 0 | 1;
  readonly outcomes: readonly ItemOutcome[];
  readonly gasUsed: bigint;
  readonly gasPriceWei: bigint;
}

export interface Block {
  readonly number: number;
  readonly hash: string;
  readonly timestampS: number;
  readonly baseFeeWei: bigint;
  readonly transactions: readonly MinedTransaction[];
}

export interface ChainOptions {
  readonly prng: Prng;
  readonly counts: FaultCounts;
  readonly endpoints: number;
  readonly finalityDepth: number;
  readonly blockTransactionsMax: number;
  readonly genesisS: number;
  readonly termsOf: (authorization: string) => AuthorizationTerms;
}

export type SubmitAnswer = 'accepted' | 'known' | 'nonce-used' | 'replacement-underpriced' | 'fee-too-low';

const BASE_FEE_WEI_MIN = 1_000_000_000n;
const BASE_FEE_WEI_USUAL = 4n * BASE_FEE_WEI_MIN;
const GENESIS_HASH = `0x${'00'.repeat(32)}`;

/**
 * One chain as its users see it: nodes with a mempool each, blocks with a base fee, receipts, and reorgs no deeper than
 * finality. The vault executes each authorization once, as the token's contract would.
 */
export class SimulatedChain {
  readonly #options: ChainOptions;
  readonly #blocks: Block[];
  readonly #firstHashes: string[] = [GENESIS_HASH];
  readonly #mempools: Map<string, SignedBytes>[];
  readonly #nonces = new Map<string, bigint>();
  readonly #executedBy = new Map<string, string>();
  readonly #receipts = new Map<string, { readonly block: Block; readonly transaction: MinedTransaction }>();
  #baseFeeWei = BASE_FEE_WEI_USUAL;
  /** The guardian has frozen the vault: every call reverts. */
  frozen = false;
  /** Keys that cannot pay for gas now: nothing of theirs is mined. */
  readonly dry = new Set<string>();
  #highest = 0;
  #version = 0;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.#blocks = [{ number: 0, hash: GENESIS_HASH, timestampS: options.genesisS, baseFeeWei: this.#baseFeeWei, transactions: [] }];
    this.#mempools = Array.from({ length: options.endpoints }, () => new Map<string, SignedBytes>());
  }

  /** Moves with every block and every reorg. */
  get version(): number {
    return this.#version;
  }

  get endpoints(): number {
    return this.#mempools.length;
  }

  get head(): Block {
    return this.#blocks[this.#blocks.length - 1] ?? unreachableBlock();
  }

  /** Of the next block. */
  get baseFeeWei(): bigint {
    return this.#baseFeeWei;
  }

  block(number: number): Block | undefined {
    return this.#blocks[number];
  }

  /** Of the first block that ever stood at this height. */
  firstHash(number: number): string | undefined {
    return this.#firstHashes[number];
  }

  /** Blocks at or below this one stay for ever. */
  get finalNumber(): number {
    return Math.max(0, this.#highest - this.#options.finalityDepth);
  }

  /** Mined transactions of the key, as of the block that many below the head. */
  count(sender: string, lag = 0): bigint {
    let count = this.#nonces.get(sender) ?? 0n;
    for (const block of lag === 0 ? [] : this.#blocks.slice(-lag)) {
      for (const { bytes } of block.transactions) if (bytes.sender === sender) count -= 1n;
    }
    return count;
  }

  /** As a node's `pending` tag would say: what it should never be asked for. */
  pendingCount(sender: string, endpoint: number): bigint {
    let count = this.count(sender);
    while (this.#mempools[endpoint]?.has(slot(sender, count)) === true) count += 1n;
    return count;
  }

  receipt(hash: string, lag = 0): { readonly block: Block; readonly transaction: MinedTransaction } | undefined {
    const found = this.#receipts.get(hash);
    return found === undefined || found.block.number > this.head.number - lag ? undefined : found;
  }

  executedBy(authorization: string): string | undefined {
    return this.#executedBy.get(authorization);
  }

  /** Canonical transactions, oldest first. */
  *mined(): Generator<{ readonly block: Block; readonly transaction: MinedTransaction }> {
    for (const block of this.#blocks) for (const transaction of block.transactions) yield { block, transaction };
  }

  submit(bytes: SignedBytes, endpoint: number): SubmitAnswer {
    const pool = this.#mempools[endpoint];
    if (pool === undefined) throw new RangeError(`no endpoint ${endpoint}`);
    if (bytes.nonce < this.count(bytes.sender)) return this.#receipts.has(bytes.hash) ? 'known' : 'nonce-used';
    const key = slot(bytes.sender, bytes.nonce);
    const there = pool.get(key);
    if (there?.hash === bytes.hash) return 'known';
    // geth's rule: both fees up by a tenth, or the newcomer is refused.
    if (there !== undefined && (bytes.feePerGasWeiMax * 10n < there.feePerGasWeiMax * 11n || bytes.priorityFeePerGasWeiMax * 10n < there.priorityFeePerGasWeiMax * 11n)) {
      return 'replacement-underpriced';
    }
    if (there === undefined && bytes.feePerGasWeiMax < BASE_FEE_WEI_MIN) return 'fee-too-low';
    pool.set(key, bytes);
    return 'accepted';
  }

  /** What one node remembers is forgotten: a restart, or an eviction. */
  dropMempool(endpoint: number): number {
    const pool = this.#mempools[endpoint];
    const dropped = pool?.size ?? 0;
    pool?.clear();
    return dropped;
  }

  /** Bytes that nobody was asked to sign reach every node, and outbid what is there. */
  intrude(bytes: SignedBytes): void {
    for (const pool of this.#mempools) pool.set(slot(bytes.sender, bytes.nonce), bytes);
  }

  /** One block by the node's own view of what is pending. */
  mine(endpoint: number, atS: number): Block {
    const { prng, blockTransactionsMax } = this.#options;
    const pool = this.#mempools[endpoint] ?? new Map<string, SignedBytes>();
    const number = this.head.number + 1;
    const timestampS = Math.max(atS, this.head.timestampS);
    const hash = prng.hex(32);
    const transactions: MinedTransaction[] = [];
    const senders = prng.shuffled([...new Set([...pool.values()].map((it) => it.sender))]);
    for (const sender of senders) {
      if (this.dry.has(sender)) continue;
      for (;;) {
        const nonce = this.#nonces.get(sender) ?? 0n;
        const bytes = pool.get(slot(sender, nonce));
        if (bytes === undefined || transactions.length >= blockTransactionsMax || bytes.feePerGasWeiMax < this.#baseFeeWei) break;
        transactions.push(this.#execute(bytes, timestampS));
      }
    }
    const block: Block = { number, hash, timestampS, baseFeeWei: this.#baseFeeWei, transactions };
    this.#blocks.push(block);
    this.#firstHashes[number] ??= hash;
    for (const transaction of transactions) this.#receipts.set(transaction.bytes.hash, { block, transaction });
    for (const mempool of this.#mempools) {
      for (const [key, bytes] of mempool) if (bytes.nonce < (this.#nonces.get(bytes.sender) ?? 0n)) mempool.delete(key);
    }
    this.#highest = Math.max(this.#highest, number);
    // EIP-1559 moves the base fee by an eighth a block at most; whether up or down is chance here, around what is usual.
    const moved = prng.chance(this.#baseFeeWei > BASE_FEE_WEI_USUAL ? 300 : 600) ? (this.#baseFeeWei * 9n) / 8n : (this.#baseFeeWei * 7n) / 8n;
    this.#baseFeeWei = moved < BASE_FEE_WEI_MIN ? BASE_FEE_WEI_MIN : moved;
    this.#version += 1;
    return block;
  }

  spikeBaseFee(factor: bigint): void {
    this.#baseFeeWei *= factor;
  }

  calmBaseFee(): void {
    this.#baseFeeWei = BASE_FEE_WEI_USUAL;
  }

  /**
   * Takes back as many blocks as finality allows at most. What they held returns to the mempools of some nodes, or of none;
   * the new branch is the caller's to mine.
   */
  reorg(depth: number, keep: (bytes: SignedBytes, endpoint: number) => boolean): number {
    const blocks = Math.min(depth, this.head.number - this.finalNumber);
    for (let undone = 0; undone < blocks; undone += 1) {
      const block = this.#blocks.pop();
      if (block === undefined) break;
      for (const { bytes, outcomes } of [...block.transactions].reverse()) {
        this.#receipts.delete(bytes.hash);
        this.#nonces.set(bytes.sender, bytes.nonce);
        for (const { authorization, result } of outcomes) if (result === 'executed') this.#executedBy.delete(authorization);
        for (const [endpoint, pool] of this.#mempools.entries()) {
          if (keep(bytes, endpoint)) pool.set(slot(bytes.sender, bytes.nonce), bytes);
        }
      }
    }
    if (blocks > 0) this.#version += 1;
    return blocks;
  }

  /** What the item would come to now. */
  itemResult(authorization: string, atS = this.head.timestampS): ItemResult {
    if (this.#executedBy.has(authorization)) return 'used';
    const terms = this.#options.termsOf(authorization);
    if (terms.validBeforeS <= atS) return 'expired';
    return terms.hasFunds ? 'executed' : 'no-funds';
  }

  #execute(bytes: SignedBytes, atS: number): MinedTransaction {
    this.#nonces.set(bytes.sender, bytes.nonce + 1n);
    const tip = bytes.feePerGasWeiMax - this.#baseFeeWei;
    const priority = bytes.priorityFeePerGasWeiMax < tip ? bytes.priorityFeePerGasWeiMax : tip;
    const gasUsed = 21_000n + 50_000n * BigInt(bytes.authorizations.length);
    const gasPriceWei = this.#baseFeeWei + priority;
    if (this.frozen && bytes.authorizations.length > 0) return { bytes, status: 0, outcomes: [], gasUsed, gasPriceWei };
    const outcomes = bytes.authorizations.map((authorization): ItemOutcome => {
      const result = this.itemResult(authorization, atS);
      if (result === 'executed') this.#executedBy.set(authorization, bytes.hash);
      return { authorization, result };
    });
    return { bytes, status: 1, outcomes, gasUsed, gasPriceWei };
  }
}

function slot(sender: string, nonce: bigint): string {
  return `${sender} ${nonce}`;
}

function unreachableBlock(): never {
  throw new RangeError('a chain has a first block');
}

import { RpcRefused } from '@settlement/chain/rpc';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { HealthState } from '@settlement/observability/health';
import type { FeeObservation } from '../../lane/fee.policy';
import type { BroadcastOutcome, Broadcaster } from '../../ports/broadcaster';
import type { CallOutcome, CallRequest, ChainHead, ChainReader, Receipt, ReceiptLog, SentCall, Simulation, SimulationOptions } from '../../ports/chain-reader';
import type { DisagreementSubject } from '../../ports/endpoint-metrics';
import { agreedHead, agreedHeight, agreedReceipt, agreedValue, headKey, middleFees, receiptKey, simulationKey, type ReceiptVote } from './agreement.policy';
import { BroadcastRoute } from './broadcast-route';
import type { Trip } from './circuit-breaker.policy';
import type { Endpoint } from './endpoint';
import { EndpointPanel, type EndpointPanelOptions, type Vote } from './endpoint-panel';
import type { JsonRpcChain } from './json-rpc-chain';

export interface EndpointSetOptions extends EndpointPanelOptions {
  /** Blocks for which a transaction goes to the private endpoints only. */
  readonly privateBlocks: bigint;
  /** An endpoint further behind than this is not asked. Blocks. */
  readonly lagBlocksMax: bigint;
}

/** Below the head by this much, honest endpoints no longer differ but for deep reorgs. Blocks. */
const SETTLED_BLOCKS = 2n;
/** How many heights below the best are tried when there is no quorum at the tip. */
const STEPS_DOWN = 3n;

/**
 * Several endpoints as one chain. What decides about money (heads, counts, receipts, canonical blocks) is believed when a
 * quorum says the same; who contradicts a quorum at a settled height, lags, fails or is told to wait is left out with the
 * reason, probed, and put back. Without a quorum nothing is answered: `OperationalError` RPC_NO_QUORUM or RPC_DISAGREE.
 */
export class EndpointSet implements ChainReader, Broadcaster {
  readonly #options: EndpointSetOptions;
  readonly #panel: EndpointPanel;
  readonly #route: BroadcastRoute;
  /** The last head that had a quorum. */
  #head: ChainHead | undefined;
  /** Whoever hears that a nonce is used asks for the receipt next, and must not be answered from further back. */
  #countedAt = 0n;
  /** Agreed hashes of the last heights: what a probed liar is examined on. */
  readonly #settled = new Map<bigint, string>();

  constructor(options: EndpointSetOptions) {
    this.#options = options;
    this.#panel = new EndpointPanel(options, (endpoint, chain) => this.#examine(endpoint, chain));
    this.#route = new BroadcastRoute(options.privateBlocks);
  }

  health(): HealthState {
    return this.#panel.health();
  }

  chainId(): Promise<bigint> {
    return this.#panel.agree('chain', (chain) => chain.chainId(), (votes) => agreedValue(votes.map((it) => it.said), this.#options.quorum, String));
  }

  async head(): Promise<ChainHead> {
    this.#panel.probeDue();
    const { quorum } = this.#options;
    const votes: Vote<ChainHead>[] = [];
    let head = await this.#panel.gather(
      (chain) => chain.head(),
      votes,
      (all) => agreedHead(all.map((it) => it.said), quorum),
      (late) => this.#auditHead(late, this.#head),
    );
    // Not all at one height: the highest that a quorum has is named by those who are there, and asked of those further on.
    const best = agreedHeight(votes.map((it) => it.said.number), quorum);
    for (let step = 0n; head === undefined && best !== undefined && step < STEPS_DOWN && step < best; step += 1n) {
      const height = best - step;
      const there = await Promise.all(votes.map(({ endpoint, said }) => (said.number === height ? said : said.number > height ? endpoint.ask((chain) => chain.headAt(height)).catch(silent) : undefined)));
      head = agreedHead(there.filter((it) => it !== undefined), quorum);
    }
    if (head === undefined) throw this.#panel.undecided('heads', votes.length, votes.map(({ endpoint, said }) => `${endpoint.name} ${said.number} ${said.hash}`));
    for (const vote of votes) this.#auditHead(vote, head);
    this.#remember(head);
    this.#panel.decided('heads');
    return head;
  }

  async blockHashes(numbers: readonly bigint[]): Promise<ReadonlyMap<bigint, string | undefined>> {
    if (numbers.length === 0) return new Map();
    const { quorum } = this.#options;
    return this.#panel.agree(
      'block',
      (chain) => chain.blockHashes(numbers),
      (votes) => {
        const agreed = new Map<bigint, string | undefined>();
        for (const number of numbers) {
          // A block that a quorum has shown cannot be missing: who says so has fallen back behind it, and abstains.
          const shown = number <= (this.#head?.number ?? -1n);
          const said = votes.map((it) => it.said.get(number) ?? 'none').filter((it) => it !== 'none' || !shown);
          const hash = agreedValue(said, quorum, (it) => it);
          if (hash === undefined) return undefined;
          agreed.set(number, hash === 'none' ? undefined : hash);
        }
        return agreed;
      },
      ({ endpoint, said }, agreed) => {
        for (const [number, hash] of agreed) {
          const other = said.get(number);
          // Not having it is being behind, not contradicting.
          if (hash === undefined || other === undefined || other === hash) continue;
          this.#disagreed(endpoint, 'block', number);
        }
      },
    );
  }

  /** At the height of the agreed head, so that an endpoint one block on is not taken for a liar, and one behind abstains. */
  async transactionCount(address: EvmAddress): Promise<bigint> {
    const { number } = await this.head();
    return this.transactionCountAt(address, number);
  }

  async transactionCountAt(address: EvmAddress, height: bigint): Promise<bigint> {
    const count = await this.#agreeAt('nonce', height, (chain) => chain.transactionCountAt(address, height));
    if (height > this.#countedAt) this.#countedAt = height;
    return count;
  }

  /** The highest that a quorum has reached: an endpoint that calls too much final does not decide alone. */
  async taggedHeight(tag: 'finalized' | 'safe'): Promise<bigint | undefined> {
    const { quorum } = this.#options;
    const height = await this.#panel.agree('block', (chain) => chain.taggedHeight(tag), (votes) => agreedHeight(votes.map((it) => it.said ?? -1n), quorum));
    return height < 0n ? undefined : height;
  }

  async balanceWei(address: EvmAddress): Promise<bigint> {
    const { number } = await this.head();
    return this.#agreeAt('balance', number, (chain) => chain.balanceWeiAt(address, number));
  }

  async receipts(hashes: readonly string[]): Promise<ReadonlyMap<string, Receipt | undefined>> {
    if (hashes.length === 0) return new Map();
    const { quorum } = this.#options;
    return this.#panel.agree(
      'receipt',
      (chain) => chain.receiptVote(hashes),
      (votes) => {
        const agreed = new Map<string, Receipt | undefined>();
        for (const hash of hashes) {
          const it = agreedReceipt(hash, votes.map(({ said }) => said), quorum);
          if (it.state === 'undecided' || (it.state === 'absent' && it.height < this.#countedAt)) return undefined;
          agreed.set(hash, it.state === 'agreed' ? it.receipt : undefined);
        }
        return agreed;
      },
      (vote, agreed) => this.#auditReceipts(vote, agreed),
    );
  }

  async sentCalls(hashes: readonly string[]): Promise<ReadonlyMap<string, SentCall>> {
    if (hashes.length === 0) return new Map();
    const key = (sent: ReadonlyMap<string, SentCall>): string => hashes.map((hash) => `${sent.get(hash)?.to ?? '-'} ${sent.get(hash)?.data ?? '-'}`).join(',');
    return this.#panel.agree('receipt', (chain) => chain.sentCalls(hashes), (votes) => agreedValue(votes.map((it) => it.said), this.#options.quorum, key));
  }

  async fees(): Promise<FeeObservation> {
    const votes: Vote<FeeObservation>[] = [];
    await this.#panel.gather((chain) => chain.fees(), votes, (all) => (all.length >= this.#options.quorum ? true : undefined));
    const fees = middleFees(votes.map((it) => it.said));
    if (fees === undefined) throw this.#panel.undecided('fees', 0, []);
    this.#panel.decided('fees');
    return fees;
  }

  /** One endpoint's word is enough that a call works: at worst gas is burned. That it fails gives intents up, so a quorum must say so. */
  async calls(requests: readonly CallRequest[]): Promise<readonly CallOutcome[]> {
    const first = await this.#panel.first((chain) => chain.calls(requests));
    if (first.every((it) => it.ok)) return first;
    const key = (outcomes: readonly CallOutcome[]): string => outcomes.map((it) => (it.ok ? 'ok' : it.data)).join(',');
    return this.#panel.agree('call', (chain) => chain.calls(requests), (votes) => agreedValue(votes.map((it) => it.said), this.#options.quorum, key));
  }

  /** One endpoint's word that all is well is enough; that something is not, or where intents are given up for it, a quorum's. */
  async simulate(requests: readonly CallRequest[], options: SimulationOptions): Promise<readonly Simulation[] | undefined> {
    if (!options.confirmed) {
      const first = await this.#panel.first((chain) => chain.simulate(requests, options));
      if (first?.every((it) => it.ok) === true) return first;
    }
    const said = await this.#panel.agree('call', async (chain) => ({ all: await chain.simulate(requests, options) }), (votes) => agreedValue(votes.map((it) => it.said), this.#options.quorum, ({ all }) => simulationKey(all)));
    return said.all;
  }

  /** All logs that any of a quorum has seen: none may be missing, and each is looked at by its receipt. */
  async logs(filter: { readonly address: EvmAddress; readonly topics: readonly (string | null)[]; readonly fromBlock: bigint }): Promise<readonly (ReceiptLog & { readonly transactionHash: string })[]> {
    const votes: Vote<readonly (ReceiptLog & { readonly transactionHash: string })[]>[] = [];
    await this.#panel.gather((chain) => chain.logs(filter), votes, (all) => (all.length >= this.#options.quorum ? true : undefined));
    if (votes.length < this.#options.quorum) throw this.#panel.undecided('logs', votes.length, []);
    this.#panel.decided('logs');
    const seen = new Map(votes.flatMap(({ said }) => said.map((log) => [`${log.transactionHash} ${log.topics.join(' ')} ${log.data}`, log] as const)));
    return [...seen.values()];
  }

  async broadcast(raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]> {
    return this.#route.send(raws, { public: this.#panel.public, private: this.#panel.private, height: this.#head?.number });
  }

  #agreeAt(what: 'nonce' | 'balance', height: bigint, question: (chain: JsonRpcChain) => Promise<bigint>): Promise<bigint> {
    return this.#panel.agree(
      what,
      question,
      (votes) => agreedValue(votes.map((it) => it.said), this.#options.quorum, String),
      ({ endpoint, said }, agreed) => {
        if (said !== agreed) this.#disagreed(endpoint, what, height, true);
      },
    );
  }

  #auditHead({ endpoint, said }: Vote<ChainHead>, head: ChainHead | undefined): void {
    if (head === undefined) return;
    if (said.number + this.#options.lagBlocksMax < head.number) endpoint.trip('lagging', `${head.number - said.number} blocks behind`);
    else if (said.number === head.number && headKey(said) !== headKey(head)) this.#disagreed(endpoint, 'head');
    // Further ahead than a slow neighbour explains: nothing follows from it, but somebody should know.
    else if (said.number > head.number + this.#options.lagBlocksMax) this.#disagreed(endpoint, 'head');
  }

  #auditReceipts({ endpoint, said }: Vote<ReceiptVote>, agreed: ReadonlyMap<string, Receipt | undefined>): void {
    for (const [hash, receipt] of agreed) {
      const other = said.receipts.get(hash);
      if (receipt !== undefined && other === undefined && said.height >= receipt.blockNumber) this.#disagreed(endpoint, 'receipt', receipt.blockNumber);
      else if (receipt !== undefined && other !== undefined && receiptKey(other) !== receiptKey(receipt)) this.#disagreed(endpoint, 'receipt', receipt.blockNumber, receipt.blockHash === other.blockHash);
      else if (receipt === undefined && other !== undefined && other.blockNumber <= (this.#head?.number ?? 0n)) this.#disagreed(endpoint, 'receipt', other.blockNumber);
    }
  }

  /** Counted always; held against the endpoint where no fork can explain it. */
  #disagreed(endpoint: Endpoint, what: DisagreementSubject, height?: bigint, certain = false): void {
    const { caip2, metrics, logger } = this.#options;
    metrics.endpointDisagreement(caip2, endpoint.name, what);
    logger.warn({ endpoint: endpoint.name, what, ...(height === undefined ? {} : { height: height.toString() }) }, 'RPC endpoint contradicts a quorum of the others');
    const head = this.#head?.number ?? 0n;
    if (certain || (height !== undefined && height + SETTLED_BLOCKS <= head)) endpoint.strike(height === undefined ? what : `the ${what} at height ${height}`);
  }

  #remember(head: ChainHead): void {
    this.#head = head;
    this.#settled.set(head.number, head.hash);
    for (const number of this.#settled.keys()) if (number + 64n < head.number) this.#settled.delete(number);
  }

  /** An endpoint that was out of use: near the head, and the truth about a settled block. That it serves this chain is seen before. */
  async #examine(endpoint: Endpoint, chain: JsonRpcChain): Promise<{ readonly reason: Trip; readonly why: string } | undefined> {
    const known = this.#head;
    if (known === undefined || this.#panel.private.includes(endpoint)) return undefined;
    const { number } = await chain.head();
    if (number + this.#options.lagBlocksMax < known.number) return { reason: 'lagging', why: `${known.number - number} blocks behind` };
    const at = [...this.#settled].reverse().find(([height]) => height + SETTLED_BLOCKS <= known.number);
    if (at === undefined) return undefined;
    const block = await chain.headAt(at[0]);
    return block === undefined || block.hash === at[1] ? undefined : { reason: 'lying', why: `another block ${at[0]} than the others` };
  }
}

/** Its breaker has the reason; here it abstains. */
function silent(error: unknown): undefined {
  if (error instanceof OperationalError || error instanceof RpcRefused) return undefined;
  throw error;
}

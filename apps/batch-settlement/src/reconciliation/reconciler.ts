import type { EventStore, Transaction } from '@settlement/event-store/port';
import type { IdSource } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import { isPending, VAULT } from '../ledger/account';
import { appendAll, appendOf } from '../ledger/ledger.store';
import type { BlockRef, ChainReader } from '../ports/chain-reader';
import { breakChanges, type Comparison, type OpenBreak } from './break.policy';
import { reconciliationHorizon, unpostedBlocks } from './horizon.policy';

export interface ReconciledToken {
  readonly chainId: string;
  readonly symbol: string;
  readonly address: string;
  readonly finalityDepth: number;
  readonly reader: ChainReader;
}

export interface ReconciliationResult {
  readonly chainId: string;
  readonly token: string;
  readonly blockNumber: bigint;
  readonly blockHash: string;
  readonly ledgerVault: bigint;
  /** Sum of the merchants' balances in the vault. */
  readonly vaultBalance: bigint;
  readonly tokenBalance: bigint;
  /** Credits of blocks that are not final: on neither side of the comparison, whether their blocks are newer or gone. */
  readonly pending: bigint;
  readonly breaks: number;
  /** Facts of newer final blocks are still on their way here. */
  readonly catchingUp: boolean;
}

export interface ReconcilerOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly tokens: readonly ReconciledToken[];
  readonly graceSeconds: bigint;
}

/**
 * How far back a look at the vault's movements goes; public nodes refuse more than about 10,000 blocks. What is older and not
 * posted has had its time on every chain (20 minutes at 4 blocks a second) and shows in the comparison itself.
 */
const BLOCKS_PER_LOOK_MAX = 5_000n;

/**
 * Compares, per token and as of one final block, what the ledger says the vault holds, what the vault says it owes to its
 * merchants and what the token says the vault has (I4). The ledger's side counts postings up to that same block.
 */
export class Reconciler {
  private tail: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: ReconcilerOptions) {}

  /** All tokens. Whoever asks while a comparison runs waits for a fresh one behind it. */
  async reconcile(): Promise<readonly ReconciliationResult[]> {
    const mine = this.tail.then(() => this.reconcileAll(), () => this.reconcileAll());
    this.tail = mine;
    return mine;
  }

  private async reconcileAll(): Promise<readonly ReconciliationResult[]> {
    const results: ReconciliationResult[] = [];
    for (const token of this.options.tokens) results.push(await this.reconcileToken(token));
    return results;
  }

  private async reconcileToken(token: ReconciledToken): Promise<ReconciliationResult> {
    const { store, graceSeconds } = this.options;
    const { chainId, symbol, address, reader, finalityDepth } = token;
    const head = await reader.head();
    const last = await this.lastBlock(chainId, symbol);
    const deepest = head.number - BigInt(finalityDepth);
    const finalNumber = deepest < 0n ? 0n : deepest;
    const earliest = finalNumber < BLOCKS_PER_LOOK_MAX ? 0n : finalNumber - BLOCKS_PER_LOOK_MAX + 1n;
    const from = last !== undefined && last <= finalNumber && last >= earliest ? last + 1n : earliest;
    const movements = from > finalNumber ? [] : await reader.movements(address, from, finalNumber);
    const posted = await this.postedBy(chainId, symbol, movements.map((m) => m.transactionHash));
    const timestampSecondsOf = new Map<bigint, bigint>();
    for (const number of unpostedBlocks(movements, posted)) timestampSecondsOf.set(number, (await reader.block(number)).timestampSeconds);
    const finalized = await reader.block(finalNumber);
    const horizon = reconciliationHorizon({ finalized, head, movements, posted, timestampSecondsOf, graceSeconds });
    const at = horizon === finalNumber ? finalized : await reader.block(horizon < 0n ? 0n : horizon);

    const merchants = await this.merchantKeys(chainId, symbol);
    const holdings = await reader.holdings(address, merchants.map((m) => m.key), at);
    return store.transact(0, async (tx) => {
      // One comparison of a token at a time, over all processes: two that find the same difference would open two breaks for it.
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`reconcile:${chainId}:${symbol}`]);
      const ledger = await ledgerAt(tx, chainId, symbol, at.number);
      const vaultBalance = holdings.merchants.reduce((sum, balance) => sum + balance, 0n);
      const comparisons: Comparison[] = [
        { subject: 'token', ledger: ledger.vault, chain: holdings.token },
        { subject: 'vault', ledger: ledger.vault, chain: vaultBalance },
        // Of the books alone, against nothing but arithmetic: whoever gets past the triggers is seen here.
        { subject: 'sum-of-postings', ledger: ledger.sum, chain: 0n },
        { subject: 'balances-off-postings', ledger: ledger.balancesOff, chain: 0n },
        ...merchants.map(({ merchantId }, i) => ({ subject: merchantId, ledger: ledger.merchants.get(merchantId) ?? 0n, chain: holdings.merchants[i] ?? 0n })),
      ];
      const breaks = await this.recordBreaks(tx, token, at, comparisons);
      await tx.query(
        `insert into ledger.reconciliation (chain_id, token, block_number, block_hash, ledger_vault, vault_balance, token_balance, reconciled_at_ns)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (chain_id, token) do update set block_number = excluded.block_number, block_hash = excluded.block_hash,
           ledger_vault = excluded.ledger_vault, vault_balance = excluded.vault_balance, token_balance = excluded.token_balance,
           reconciled_at_ns = excluded.reconciled_at_ns`,
        [chainId, symbol, at.number.toString(), at.hash, ledger.vault.toString(), vaultBalance.toString(), holdings.token.toString(), this.options.clock.nowNs().toString()],
      );
      return {
        chainId,
        token: symbol,
        blockNumber: at.number,
        blockHash: at.hash,
        ledgerVault: ledger.vault,
        vaultBalance,
        tokenBalance: holdings.token,
        pending: ledger.pending,
        breaks,
        catchingUp: at.number < finalNumber,
      };
    });
  }

  private async lastBlock(chainId: string, token: string): Promise<bigint | undefined> {
    const [row] = await this.options.store.transact(0, (tx) =>
      tx.query<{ block_number: string }>('select block_number::text from ledger.reconciliation where chain_id = $1 and token = $2', [chainId, token]),
    );
    return row === undefined ? undefined : BigInt(row.block_number);
  }

  private async postedBy(chainId: string, token: string, hashes: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
    if (hashes.length === 0) return new Map();
    const rows = await this.options.store.transact(0, (tx) =>
      tx.query<{ transaction_hash: string; amount: string }>(
        `select transaction_hash, sum(amount)::text as amount from ledger.posting
          where account = 'vault' and chain_id = $1 and token = $2 and transaction_hash = any($3::text[]) group by 1`,
        [chainId, token, hashes],
      ),
    );
    return new Map(rows.map((row) => [row.transaction_hash, BigInt(row.amount)]));
  }

  private async merchantKeys(chainId: string, token: string): Promise<readonly { readonly merchantId: string; readonly key: string }[]> {
    const rows = await this.options.store.transact(0, (tx) =>
      tx.query<{ merchant_id: string; merchant_key: string }>(
        `select distinct b.merchant_id, coalesce(m.merchant_key, a.merchant_key) as merchant_key
           from (select distinct merchant_id from ledger.account_balance where chain_id = $1 and token = $2 and kind <> 'vault') b
           left join ledger.merchant m using (merchant_id)
           left join lateral (select merchant_key from ledger.accrual x where x.merchant_id = b.merchant_id limit 1) a on true
          order by 1`,
        [chainId, token],
      ),
    );
    return rows.map((row) => ({ merchantId: row.merchant_id, key: row.merchant_key }));
  }

  /** Answers how many breaks are open afterwards. */
  private async recordBreaks(tx: Transaction, token: ReconciledToken, at: BlockRef, comparisons: readonly Comparison[]): Promise<number> {
    const { clock, ids } = this.options;
    const { chainId, symbol } = token;
    const rows = await tx.query<{ break_id: string; subject: string; ledger: string; chain: string }>(
      `select break_id, subject, ledger_amount::text as ledger, chain_amount::text as chain from ledger.break
        where chain_id = $1 and token = $2 and closed_at_ns = 0 for update`,
      [chainId, symbol],
    );
    const open = rows.map((r): OpenBreak => ({ breakId: r.break_id, subject: r.subject, ledger: BigInt(r.ledger), chain: BigInt(r.chain) }));
    const { opened, closed } = breakChanges(comparisons, open);
    const nowNs = clock.nowNs();
    const appends = [];
    for (const { breakId } of closed) {
      await tx.query('update ledger.break set closed_at_ns = $2 where break_id = $1', [breakId, nowNs.toString()]);
      appends.push(appendOf(`break-${breakId}`, 1n, `close-${breakId}`, [{ type: 'BreakClosed', breakId, blockNumber: at.number, closedAtNs: nowNs }]));
    }
    for (const { subject, ledger, chain } of opened) {
      const breakId = ids.next('brk');
      await tx.query(
        `insert into ledger.break (break_id, chain_id, token, subject, ledger_amount, chain_amount, block_number, block_hash, opened_at_ns)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
        [breakId, chainId, symbol, subject, ledger.toString(), chain.toString(), at.number.toString(), at.hash, nowNs.toString()],
      );
      appends.push(
        appendOf(`break-${breakId}`, 'must-not-exist', `open-${breakId}`, [
          {
            type: 'BreakOpened',
            breakId,
            chainId,
            token: symbol,
            subject,
            ledgerMinor: ledger.toString(),
            chainMinor: chain.toString(),
            blockNumber: at.number,
            blockHash: at.hash,
            openedAtNs: nowNs,
          },
        ]),
      );
    }
    await appendAll(tx, appends);
    return open.length - closed.length + opened.length;
  }
}

/**
 * The ledger as of a block: every posting whose fact stands at or before it. Moves inside the ledger carry block 0 and are
 * all counted; they change no merchant's sum.
 */
async function ledgerAt(tx: Transaction, chainId: string, token: string, block: bigint) {
  const rows = await tx.query<{ account: string; merchant_id: string; at_block: string; now: string; balance: string }>(
    `with posted as (
       select account, merchant_id, sum(amount) filter (where block_number <= $3) as at_block, sum(amount) as now
         from ledger.posting where chain_id = $1 and token = $2 group by account, merchant_id)
     select coalesce(p.account, b.account) as account, coalesce(p.merchant_id, b.merchant_id) as merchant_id,
            coalesce(p.at_block, 0)::text as at_block, coalesce(p.now, 0)::text as now, coalesce(b.balance, 0)::text as balance
       from posted p full join (select * from ledger.account_balance where chain_id = $1 and token = $2) b on b.account = p.account`,
    [chainId, token, block.toString()],
  );
  const merchants = new Map<string, bigint>();
  let vault = 0n;
  let sum = 0n;
  let balancesOff = 0n;
  let pending = 0n;
  for (const { account, merchant_id, at_block, now, balance } of rows) {
    if (account === VAULT) vault += BigInt(at_block);
    else if (isPending(account)) {
      // Both sides of each pending entry are here; the assets' side counts it once.
      if (BigInt(now) > 0n) pending += BigInt(now);
    } else merchants.set(merchant_id, (merchants.get(merchant_id) ?? 0n) - BigInt(at_block));
    sum += BigInt(now);
    if (now !== balance) balancesOff += 1n;
  }
  return { vault, merchants, sum, balancesOff, pending };
}

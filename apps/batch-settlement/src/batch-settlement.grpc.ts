import type { EventStore } from '@settlement/event-store/port';
import { InvalidInput } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { RpcRefused } from '@settlement/rpc/rpc-error';
import { rpcService, type BoundRpcService } from '@settlement/rpc/grpc-server';
import {
  BatchSettlementServiceService,
  BatchState,
  PayoutState,
  ReconciliationState,
  type Batch,
} from '@settlement/proto/batch/v1/batch';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { status } from '@grpc/grpc-js';
import { sealBatches } from './batch/seal.store';
import { clearHold } from './payout/payout-hold.store';
import type { Reads } from './ports/reads';
import type { Reconciler } from './reconciliation/reconciler';
import { REPORT_HEADER, reportCsv } from './report/report.csv';
import { reportLines } from './report/report.query';

export interface GrpcDependencies {
  readonly store: EventStore;
  readonly reads: Reads;
  readonly clock: Clock;
  readonly reconciler: Reconciler;
  readonly decimals: (chainId: string, token: string) => number | undefined;
  /** Something new is sealed: look after it at once. */
  readonly wake: () => void;
}

const BATCHES_PER_PAGE_MAX = 200;

const BATCH_STATES: Readonly<Record<string, BatchState>> = {
  sealed: BatchState.BATCH_STATE_SEALED,
  screened: BatchState.BATCH_STATE_SCREENED,
  submitted: BatchState.BATCH_STATE_SUBMITTED,
  settled: BatchState.BATCH_STATE_SETTLED,
  abandoned: BatchState.BATCH_STATE_ABANDONED,
  disputed: BatchState.BATCH_STATE_DISPUTED,
};

const PAYOUT_STATES: Readonly<Record<string, PayoutState>> = {
  pending: PayoutState.PAYOUT_STATE_PENDING,
  paid: PayoutState.PAYOUT_STATE_PAID,
  failed: PayoutState.PAYOUT_STATE_FAILED,
  held: PayoutState.PAYOUT_STATE_HELD,
};

/** The service's gRPC face: reads of its own tables, and the few things that a person may ask for. */
export function batchSettlementService(it: GrpcDependencies): BoundRpcService {
  const { store, reads, clock, reconciler } = it;
  const knownToken = (chainId: string, token: string): void => {
    if (it.decimals(chainId, token) === undefined) throw new InvalidInput([{ path: 'token', message: 'expected a token of a chain that is configured here' }]);
  };
  return rpcService(BatchSettlementServiceService, {
    async getMerchantBalance({ merchantId }) {
      required({ merchant_id: merchantId });
      const rows = await reads.query<{
        chain_id: string;
        token: string;
        payable: string;
        in_batch: string;
        refunding: string;
        pending: string;
        paid_out: string;
        hold: string;
      }>(
        `select b.chain_id, b.token,
                coalesce(-sum(b.balance) filter (where b.kind = 'merchant-payable'), 0)::text as payable,
                coalesce(-sum(b.balance) filter (where b.kind = 'in-batch'), 0)::text as in_batch,
                coalesce(-sum(b.balance) filter (where b.kind = 'refunding'), 0)::text as refunding,
                coalesce(-sum(b.balance) filter (where b.kind = 'merchant-pending'), 0)::text as pending,
                (select coalesce(sum(p.amount), 0)::text from ledger.payout p
                  where p.merchant_id = $1 and p.chain_id = b.chain_id and p.token = b.token and p.state = 'paid') as paid_out,
                coalesce((select h.code from ledger.payout_hold h
                  where h.merchant_id = $1 and h.chain_id = b.chain_id and h.token = b.token), '') as hold
           from ledger.account_balance b where b.merchant_id = $1 group by b.chain_id, b.token order by 1, 2`,
        [merchantId],
      );
      if (rows.length === 0) {
        // An empty answer must not look like "nothing owed" for a merchant that nobody knows.
        const [known] = await reads.query('select 1 as one from ledger.merchant where merchant_id = $1', [merchantId]);
        if (known === undefined) throw new RpcRefused('MERCHANT_UNKNOWN', `no merchant ${merchantId}`, status.NOT_FOUND);
      }
      return {
        merchantId,
        balances: rows.map((r) => ({
          chainId: r.chain_id,
          token: r.token,
          payableMinor: r.payable,
          inBatchMinor: r.in_batch,
          refundingMinor: r.refunding,
          paidOutMinor: r.paid_out,
          payoutHoldCode: r.hold,
          pendingMinor: r.pending,
        })),
      };
    },

    async getLedger() {
      const rows = await reads.query<{ chain_id: string; token: string; total: string; payable: string; pending: string; vault: string; postings: string; breaks: string }>(
        `select p.chain_id, p.token, sum(p.amount)::text as total, count(*)::text as postings,
                coalesce(-sum(p.amount) filter (where p.account like 'merchant-payable:%'), 0)::text as payable,
                coalesce(-sum(p.amount) filter (where p.account like 'merchant-pending:%'), 0)::text as pending,
                coalesce(sum(p.amount) filter (where p.account = 'vault'), 0)::text as vault,
                (select count(*)::text from ledger.break b where b.chain_id = p.chain_id and b.token = p.token and b.closed_at_ns = 0) as breaks
           from ledger.posting p group by p.chain_id, p.token order by 1, 2`,
      );
      return {
        tokens: rows.map((r) => ({
          chainId: r.chain_id,
          token: r.token,
          sumOfPostings: r.total,
          merchantPayableMinor: r.payable,
          merchantPendingMinor: r.pending,
          vaultBalanceLedgerMinor: r.vault,
          postings: BigInt(r.postings),
          openBreaks: BigInt(r.breaks),
        })),
      };
    },

    async closeBatch({ commandId, chainId, token }) {
      required({ command_id: commandId, chain_id: chainId, token });
      knownToken(chainId, token);
      const batchIds = await sealBatches(store, { chainId, token, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: clock.nowNs(), commandId });
      it.wake();
      return { batchIds: [...batchIds] };
    },

    async getBatch({ batchId }) {
      required({ batch_id: batchId });
      const [batch] = await batches(reads, 'where batch_id = $1', [batchId]);
      if (batch === undefined) throw new RpcRefused('BATCH_UNKNOWN', `no batch ${batchId}`, status.NOT_FOUND);
      return { batch };
    },

    async listBatches({ limit, beforeBatchId }) {
      if (limit < 0 || limit > BATCHES_PER_PAGE_MAX) {
        throw new InvalidInput([{ path: 'limit', message: `expected 1 to ${BATCHES_PER_PAGE_MAX}, or 0 for 50` }]);
      }
      return {
        batches: await batches(
          reads,
          `where $1 = '' or (sealed_at_ns, batch_id) < (select sealed_at_ns, batch_id from ledger.batch where batch_id = $1)
           order by sealed_at_ns desc, batch_id desc limit $2`,
          [beforeBatchId, limit === 0 ? 50 : limit],
        ),
      };
    },

    async reconcile() {
      const results = await reconciler.reconcile();
      return {
        results: results.map((r) => ({
          chainId: r.chainId,
          token: r.token,
          blockNumber: r.blockNumber,
          blockHash: r.blockHash,
          ledgerVaultMinor: r.ledgerVault.toString(),
          vaultBalanceMinor: r.vaultBalance.toString(),
          tokenBalanceMinor: r.tokenBalance.toString(),
          breaks: BigInt(r.breaks),
          pendingMinor: r.pending.toString(),
          state: r.catchingUp ? ReconciliationState.RECONCILIATION_STATE_CATCHING_UP : ReconciliationState.RECONCILIATION_STATE_COMPARED,
        })),
      };
    },

    async listBreaks({ includeClosed }) {
      const rows = await reads.query<{
        break_id: string;
        chain_id: string;
        token: string;
        subject: string;
        ledger: string;
        chain: string;
        block_number: string;
        opened: string;
        closed: string;
      }>(
        `select break_id, chain_id, token, subject, ledger_amount::text as ledger, chain_amount::text as chain, block_number::text,
                opened_at_ns::text as opened, closed_at_ns::text as closed
           from ledger.break where $1::boolean or closed_at_ns = 0 order by opened_at_ns desc, break_id desc limit 1000`,
        [includeClosed],
      );
      return {
        breaks: rows.map((r) => ({
          breakId: r.break_id,
          chainId: r.chain_id,
          token: r.token,
          subject: r.subject,
          ledgerMinor: r.ledger,
          chainMinor: r.chain,
          blockNumber: BigInt(r.block_number),
          openedAtNs: BigInt(r.opened),
          closedAtNs: BigInt(r.closed),
        })),
      };
    },

    async *getReport({ merchantId, fromNs, toNs }) {
      if (fromNs < 0n) throw new InvalidInput([{ path: 'from_ns', message: 'expected nanoseconds since 1970, or 0 for an open bound' }]);
      if (toNs < 0n || (toNs !== 0n && toNs <= fromNs)) throw new InvalidInput([{ path: 'to_ns', message: 'expected a time after from_ns, or 0 for an open bound' }]);
      yield { csvChunk: REPORT_HEADER };
      for await (const lines of reportLines(reads, { merchantId, fromNs, toNs })) yield { csvChunk: reportCsv(lines, it.decimals) };
    },

    async listPayoutHolds() {
      const rows = await reads.query<{ merchant_id: string; chain_id: string; token: string; code: string; payout_id: string; payable: string; held: string }>(
        `select h.merchant_id, h.chain_id, h.token, h.code, h.payout_id, coalesce(-b.balance, 0)::text as payable, h.held_at_ns::text as held
           from ledger.payout_hold h
           left join ledger.account_balance b
             on b.account = 'merchant-payable:' || h.merchant_id and b.chain_id = h.chain_id and b.token = h.token
          order by h.held_at_ns, h.merchant_id`,
      );
      return {
        holds: rows.map((r) => ({
          merchantId: r.merchant_id,
          chainId: r.chain_id,
          token: r.token,
          code: r.code,
          payoutId: r.payout_id,
          payableMinor: r.payable,
          heldAtNs: BigInt(r.held),
        })),
      };
    },

    async clearPayoutHold({ commandId, merchantId, chainId, token }) {
      required({ command_id: commandId, merchant_id: merchantId, chain_id: chainId, token });
      const cleared = await clearHold(store, { merchantId, chainId, token }, commandId, clock.nowNs());
      it.wake();
      return { cleared };
    },
  });
}

function required(fields: Readonly<Record<string, string>>): void {
  const issues = Object.entries(fields)
    .filter(([, value]) => value === '' || value.length > 256)
    .map(([path, value]) => ({ path, message: value === '' ? 'is missing' : 'expected at most 256 characters' }));
  if (issues.length > 0) throw new InvalidInput(issues);
}

async function batches(reads: Reads, where: string, values: readonly unknown[]): Promise<Batch[]> {
  const rows = await reads.query<{
    batch_id: string;
    chain_id: string;
    token: string;
    state: string;
    total: string;
    reason: string;
    transaction_hash: string;
    sealed: string;
    settled: string;
  }>(
    `select batch_id, chain_id, token, state, total::text, reason, transaction_hash, sealed_at_ns::text as sealed, settled_at_ns::text as settled
       from ledger.batch ${where}`,
    values,
  );
  const payouts = await reads.query<{
    batch_id: string;
    payout_id: string;
    merchant_id: string;
    to_address: string;
    token: string;
    amount: string;
    state: string;
    code: string;
    payments: number;
  }>(
    `select batch_id, payout_id, merchant_id, to_address, token, amount::text, state, code, payments
       from ledger.payout where batch_id = any($1::text[]) order by merchant_id`,
    [rows.map((r) => r.batch_id)],
  );
  const byBatch = Map.groupBy(payouts, (p) => p.batch_id);
  return rows.map((r) => ({
    batchId: r.batch_id,
    chainId: r.chain_id,
    token: r.token,
    state: BATCH_STATES[r.state] ?? BatchState.BATCH_STATE_UNSPECIFIED,
    totalMinor: r.total,
    transactionHash: r.transaction_hash,
    payouts: (byBatch.get(r.batch_id) ?? []).map((p) => ({
      payoutId: p.payout_id,
      merchantId: p.merchant_id,
      to: p.to_address,
      amount: { token: p.token, amountMinor: p.amount },
      state: PAYOUT_STATES[p.state] ?? PayoutState.PAYOUT_STATE_UNSPECIFIED,
      reason: p.code,
      payments: p.payments,
    })),
    sealedAtNs: BigInt(r.sealed),
    settledAtNs: BigInt(r.settled),
    reason: r.reason,
  }));
}

import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import { ulidSource } from '@settlement/kernel/ids';
import type { TokenUnits } from '@settlement/kernel/money';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { IntentKind } from '@settlement/proto/relayer/v1/events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startChain, type TestChain } from '../../test/chain-fixture';
import { CHAIN, collected, confirmed, finalized, refundRequested, registered, startLedger, takenBack, TOKEN, type Ledger } from '../../test/ledger-fixture';
import { jsonRpcChainReader } from '../adapters/json-rpc-chain-reader';
import { sealBatches } from '../batch/seal.store';
import { siblingId } from '../derived-id';
import { Reconciler } from './reconciler';

const FINALITY_DEPTH = 2;
const GRACE_SECONDS = 600n;

describe('reconciliation against the real vault and USDC', () => {
  let ledger: Ledger;
  let chain: TestChain;
  let reconciler: Reconciler;

  beforeAll(async () => {
    [ledger, chain] = await Promise.all([startLedger(), startChain()]);
    const { vault, usdc } = chain.deployment;
    const reader = jsonRpcChainReader([chain.anvil.rpcUrl], vault);
    const tokens = [{ chainId: CHAIN, symbol: TOKEN, address: usdc, finalityDepth: FINALITY_DEPTH, reader }];
    reconciler = new Reconciler({ store: ledger.store, clock: systemClock, ids: ulidSource(systemClock, systemRandomness), tokens, graceSeconds: GRACE_SECONDS });
  });
  afterAll(async () => {
    await ledger?.close();
    await chain?.stop();
  });

  const reconcile = async () => {
    await chain.mine(FINALITY_DEPTH);
    const [result] = await reconciler.reconcile();
    if (result === undefined) throw new Error('nothing was reconciled');
    return result;
  };
  const openBreaks = () =>
    ledger.rows<{ subject: string; difference: string }>(
      'select subject, (chain_amount - ledger_amount)::text as difference from ledger.break where closed_at_ns = 0 order by subject',
    );

  it('is even through collect, payout, failed payout and refund', async () => {
    const [first, second, blocked] = [chain.merchant(), chain.merchant(), chain.merchant()];
    await ledger.gateway(registered(first), registered(second), registered(blocked));
    const refundable = await chain.collect(first, 1_000_000n);
    const payment = collected(first, 1_000_000n, undefined, refundable);
    await ledger.gateway(payment, collected(second, 250_000n, undefined, await chain.collect(second, 250_000n)), collected(blocked, 7n, undefined, await chain.collect(blocked, 7n)));
    expect(await reconcile()).toMatchObject({ ledgerVault: 1_250_007n, vaultBalance: 1_250_007n, tokenBalance: 1_250_007n, breaks: 0, catchingUp: false });

    const refund = refundRequested(first, payment.fact.paymentId, 100_000n);
    await ledger.gateway(refund);
    await ledger.refunds.advanceAll();
    const kind = ledger.peers.submitted.get(siblingId('int', refund.fact.refundId))?.kind;
    if (kind?.$case !== 'refund') throw new Error('no refund was submitted');
    const { refundKey, to } = kind.value;
    const refunded = await chain.refund({ refundKey: refundKey as Bytes32, merchantKey: first.merchantKey as Bytes32, to: to as EvmAddress, amount: 100_000n as TokenUnits });
    await ledger.relayer({ ...finalized({ subjectId: refund.fact.refundId, kind: IntentKind.INTENT_KIND_REFUND }), blockNumber: refunded.block, transactionHash: refunded.hash });
    expect(await reconcile()).toMatchObject({ ledgerVault: 1_150_007n, vaultBalance: 1_150_007n, tokenBalance: 1_150_007n, breaks: 0 });

    await chain.deployment.blacklist(blocked.payoutAddress as EvmAddress);
    const [batchId = ''] = await sealBatches(ledger.store, { chainId: CHAIN, token: TOKEN, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: 1n, commandId: '' });
    await ledger.batches.advance(batchId);
    const intent = ledger.peers.submitted.get(siblingId('int', batchId))?.kind;
    if (intent?.$case !== 'settle') throw new Error('no batch was submitted');
    const { batchKey, payouts } = intent.value;
    const settled = await chain.settle(
      batchKey,
      payouts.map((p) => ({ merchantKey: p.merchantKey as Bytes32, to: p.to as EvmAddress, amount: BigInt(p.amountMinor) as TokenUnits })),
    );
    expect(settled.paid.filter((paid) => !paid)).toHaveLength(1);
    await ledger.relayer({
      ...finalized({ subjectId: batchId, kind: IntentKind.INTENT_KIND_SETTLE, payouts: payouts.map((p, i) => ({ payoutId: p.payoutId, paid: settled.paid[i] === true, reason: 12 })) }),
      blockNumber: settled.block,
      transactionHash: settled.hash,
    });
    // The blacklisted merchant's 7 units are still in the vault, and still owed.
    expect(await reconcile()).toMatchObject({ ledgerVault: 7n, vaultBalance: 7n, tokenBalance: 7n, breaks: 0 });
    expect(await ledger.balances(blocked.merchantId)).toEqual({ payable: 7n, inBatch: 0n, refunding: 0n });
    expect(await openBreaks()).toEqual([]);
  });

  it('stops before a fact that is still on its way instead of calling it a break', async () => {
    const merchant = chain.merchant();
    const place = await chain.collect(merchant, 40n);
    const before = await reconcile();
    expect(before).toMatchObject({ breaks: 0, catchingUp: true });
    expect(before.blockNumber).toBe(place.block - 1n);
    await ledger.gateway(registered(merchant), collected(merchant, 40n, undefined, place));
    expect(await reconcile()).toMatchObject({ breaks: 0, catchingUp: false, ledgerVault: 47n, tokenBalance: 47n });
  });

  it('lists one unit of USDC that was sent into the vault as a break of exactly one', async () => {
    await chain.sendIntoVault(1n);
    expect(await reconcile()).toMatchObject({ breaks: 1, ledgerVault: 47n, vaultBalance: 47n, tokenBalance: 48n });
    expect(await openBreaks()).toEqual([{ subject: 'token', difference: '1' }]);
    // Seen again it is the same break, not another.
    await reconcile();
    const [count] = await ledger.rows<{ n: string }>('select count(*)::text as n from ledger.break');
    expect(count?.n).toBe('1');
  });

  it('lists a fact that was never posted once its time is over', async () => {
    const merchant = chain.merchant();
    await ledger.gateway(registered(merchant), collected(merchant, 10n, undefined, await chain.collect(merchant, 10n)));
    await reconcile();
    // Nobody tells the ledger of these 3 units; 20 minutes of the chain's time pass.
    await chain.collect(merchant, 3n);
    expect(await reconcile()).toMatchObject({ catchingUp: true, breaks: 1 });
    await fetch(chain.anvil.rpcUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'evm_increaseTime', params: [1_200] }) });
    expect(await reconcile()).toMatchObject({ catchingUp: false, breaks: 3 });
    expect(await openBreaks()).toEqual([
      { subject: merchant.merchantId, difference: '3' },
      { subject: 'token', difference: '4' },
      { subject: 'vault', difference: '3' },
    ]);
  });

  it('lists a posting that has gone missing, at once, and closes the break when it is back', async () => {
    const merchant = chain.merchant();
    const payment = collected(merchant, 500n, undefined, await chain.collect(merchant, 500n));
    await ledger.gateway(registered(merchant), payment);
    await reconcile();
    const openBefore = await openBreaks();
    const saved = `create temporary table saved as select journal_id, line, account, chain_id, token, amount, block_number, transaction_hash, posted_at_ns from ledger.posting where journal_id = '${payment.fact.paymentId}'`;
    // Only somebody who switches the triggers off can take a posting away.
    await ledger.store.transact(0, async (tx) => {
      await tx.query(saved.replace('temporary', 'unlogged').replace('table saved', 'table ledger.saved'));
      await tx.query(`set local session_replication_role = replica`);
      await tx.query('delete from ledger.posting where journal_id = $1', [payment.fact.paymentId]);
    });
    await reconcile();
    expect(await openBreaks()).toContainEqual({ subject: merchant.merchantId, difference: '500' });
    await ledger.store.transact(0, async (tx) => {
      await tx.query(`set local session_replication_role = replica`);
      await tx.query(
        `insert into ledger.posting (journal_id, line, account, chain_id, token, amount, block_number, transaction_hash, posted_at_ns) select * from ledger.saved`,
      );
      await tx.query('drop table ledger.saved');
    });
    await reconcile();
    expect(await openBreaks()).toEqual(openBefore);
  });

  it('leaves what is only confirmed out of both sides, and says how much it is', async () => {
    const before = await reconcile();
    const merchant = chain.merchant();
    const place = await chain.collect(merchant, 400n);
    const payment = collected(merchant, 400n, undefined, place);
    await ledger.gateway(registered(merchant), confirmed(payment, 5n));
    const [newest] = await reconciler.reconcile();
    expect(newest).toMatchObject({ pending: 400n, ledgerVault: before.ledgerVault, breaks: before.breaks });
    await ledger.gateway(takenBack(payment, 6n), confirmed(payment, 7n), payment);
    // Final in the ledger at once, on the chain only two blocks later: the ledger's side counts up to the same block.
    expect((await reconciler.reconcile())[0]).toMatchObject({ pending: 0n, ledgerVault: before.ledgerVault, breaks: before.breaks });
    expect(await reconcile()).toMatchObject({ pending: 0n, ledgerVault: before.ledgerVault + 400n, tokenBalance: before.tokenBalance + 400n, breaks: before.breaks });
  });
});

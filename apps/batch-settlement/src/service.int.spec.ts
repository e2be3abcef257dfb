import { parse } from 'csv-parse/sync';
import { BatchState, PayoutState } from '@settlement/proto/batch/v1/batch';
import { systemClock } from '@settlement/config/system-ports';
import type { EvmAddress } from '@settlement/kernel/address';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startChain, type TestChain } from '../test/chain-fixture';
import { CHAIN, collected, newId, refundRequested, registered, TOKEN, type TestMerchant } from '../test/ledger-fixture';
import { knownBalanceOf, settlesTo, startFleet, type Fleet } from '../test/service-fixture';

describe('the service as a process', () => {
  let chain: TestChain;
  let fleet: Fleet;

  beforeAll(async () => {
    chain = await startChain();
    fleet = await startFleet(chain);
    await fleet.start();
  });
  afterAll(async () => {
    await fleet?.stop();
    await chain?.stop();
  });
  afterEach(() => {
    fleet.peers.before = () => undefined;
  });

  async function eventually<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
    for (let attempt = 0; attempt < 600; attempt += 1) {
      const found = await look();
      if (found !== undefined) return found;
      await systemClock.sleep(50);
    }
    throw new Error(`${what} did not come within 30 s: ${fleet.log().slice(-4_000)}`);
  }
  const balanceOf = async ({ merchantId }: TestMerchant) => {
    const { balances } = await fleet.client.getMerchantBalance({ merchantId });
    return balances[0];
  };
  const paidOut = (merchant: TestMerchant, amount: bigint) =>
    eventually(async () => {
      await fleet.execute();
      const known = await knownBalanceOf(fleet, merchant);
      return known?.paidOutMinor === amount.toString() ? known : undefined;
    }, `a payout of ${amount}`);
  const reconcile = async () => {
    await chain.mine(2);
    const { results } = await fleet.client.reconcile({});
    return results[0];
  };

  it('accrues, closes a batch by age, pays, reports and equals the chain', async () => {
    const merchant = chain.merchant();
    const payment = collected(merchant, 2_000_000n, undefined, await chain.collect(merchant, 2_000_000n));
    await fleet.publish(registered(merchant), payment);
    await paidOut(merchant, 2_000_000n);

    const { batches } = await fleet.client.listBatches({ limit: 1, beforeBatchId: '' });
    expect(batches[0]).toMatchObject({ state: BatchState.BATCH_STATE_SETTLED, totalMinor: '2000000', payouts: [{ merchantId: merchant.merchantId, state: PayoutState.PAYOUT_STATE_PAID, payments: 1 }] });
    expect(await reconcile()).toMatchObject({ breaks: 0n, ledgerVaultMinor: '0', tokenBalanceMinor: '0' });
    const { tokens } = await fleet.client.getLedger({});
    expect(tokens[0]).toMatchObject({ chainId: CHAIN, token: TOKEN, sumOfPostings: '0', openBreaks: 0n });

    let csv = '';
    for await (const { csvChunk } of fleet.client.getReport({ merchantId: merchant.merchantId, fromNs: 0n, toNs: 0n })) csv += csvChunk;
    const rows: Record<string, string>[] = parse(csv, { columns: true });
    expect(rows.map((r) => [r['type'], r['id'], r['amount'], r['state']])).toEqual([
      ['payment', payment.fact.paymentId, '2.000000', 'collected'],
      ['payout', batches[0]?.payouts[0]?.payoutId, '-2.000000', 'paid'],
    ]);

    const metrics = await (await fetch(`${fleet.opsUrl}/metrics`)).text();
    expect(metrics).toMatch(/settlement_open_breaks\{[^}]*token="USDC"[^}]*\} 0/);
  });

  it('answers an empty report with its header', async () => {
    const chunks: string[] = [];
    for await (const { csvChunk } of fleet.client.getReport({ merchantId: newId('mer'), fromNs: 0n, toNs: 0n })) chunks.push(csvChunk);
    expect(chunks.join('')).toBe('merchant_id,type,id,belongs_to,chain_id,token,amount,amount_minor,state,code,counterparty,transaction_hash,block_number,occurred_at\r\n');
  });

  it('refuses bad requests with what is wrong', async () => {
    await expect(fleet.client.closeBatch({ commandId: '', chainId: CHAIN, token: '' })).rejects.toMatchObject({
      issues: [
        { path: 'command_id', message: 'is missing' },
        { path: 'token', message: 'is missing' },
      ],
    });
    await expect(fleet.client.getBatch({ batchId: 'bat_none' })).rejects.toMatchObject({ code: 'BATCH_UNKNOWN' });
    await expect(fleet.client.getMerchantBalance({ merchantId: 'mer_none' })).rejects.toMatchObject({ code: 'MERCHANT_UNKNOWN' });
  });

  it('refunds over the whole way', async () => {
    const merchant = chain.merchant();
    await chain.deployment.blacklist(merchant.payoutAddress as EvmAddress);
    const payment = collected(merchant, 900n, undefined, await chain.collect(merchant, 900n));
    await fleet.publish(registered(merchant), payment);
    // The payout fails at the token; the money is back and held, so a refund can take from it.
    await eventually(async () => {
      await fleet.execute();
      const { holds } = await fleet.client.listPayoutHolds({});
      return holds.find((h) => h.merchantId === merchant.merchantId && h.code === 'BLACKLISTED' && h.payableMinor === '900');
    }, 'the hold');
    await fleet.publish(refundRequested(merchant, payment.fact.paymentId, 400n));
    await eventually(async () => {
      await fleet.execute();
      const balance = await balanceOf(merchant);
      return balance?.payableMinor === '500' && balance.refundingMinor === '0' ? true : undefined;
    }, 'the refund');
    expect(await reconcile()).toMatchObject({ breaks: 0n, ledgerVaultMinor: '500', tokenBalanceMinor: '500' });

    await chain.deployment.unblacklist(merchant.payoutAddress as EvmAddress);
    expect(await fleet.client.clearPayoutHold({ commandId: newId('int'), merchantId: merchant.merchantId, chainId: CHAIN, token: TOKEN })).toEqual({ cleared: true });
    await paidOut(merchant, 500n);
  });

  describe('killed with SIGKILL', () => {
    const settleOnce = async (merchant: TestMerchant, amount: bigint) => {
      await paidOut(merchant, amount);
      expect(settlesTo(fleet, merchant)).toHaveLength(1);
      expect(await reconcile()).toMatchObject({ breaks: 0n, ledgerVaultMinor: '0', tokenBalanceMinor: '0' });
    };
    const dieOn = (call: 'screenMany' | 'reserveMany' | 'submitMany') =>
      new Promise<void>((resolve) => {
        fleet.peers.before = (arrived) => {
          if (arrived !== call) return;
          fleet.peers.before = () => undefined;
          void fleet.kill9().then(resolve);
        };
      });

    it.each([
      ['between seal and submit', 'screenMany'],
      ['between reservation and submit', 'reserveMany'],
      ['between submit and its answer', 'submitMany'],
    ] as const)('%s: restarted, it pays once', async (_window, call) => {
      const merchant = chain.merchant();
      const dead = dieOn(call);
      await fleet.publish(registered(merchant), collected(merchant, 11n, undefined, await chain.collect(merchant, 11n)));
      await dead;
      await fleet.start();
      await settleOnce(merchant, 11n);
    });

    it('between finality and posting: the fact waits in the feed', async () => {
      const merchant = chain.merchant();
      await fleet.publish(registered(merchant), collected(merchant, 12n, undefined, await chain.collect(merchant, 12n)));
      await eventually(async () => {
        const { batches } = await fleet.client.listBatches({ limit: 1, beforeBatchId: '' });
        return batches[0]?.state === BatchState.BATCH_STATE_SUBMITTED ? true : undefined;
      }, 'the submission');
      await fleet.kill9();
      await fleet.execute();
      await fleet.start();
      await settleOnce(merchant, 12n);
    });
  });

  it('reports page by page, each line once', async () => {
    const merchant = chain.merchant();
    // The blacklist keeps them payable: no payouts between the lines.
    await chain.deployment.blacklist(merchant.payoutAddress as EvmAddress);
    const payments = Array.from({ length: 2_500 }, () => collected(merchant, 1n));
    await fleet.publish(registered(merchant), ...payments);
    await eventually(async () => {
      const balance = await knownBalanceOf(fleet, merchant);
      return balance !== undefined && BigInt(balance.payableMinor) + BigInt(balance.inBatchMinor) === 2_500n ? true : undefined;
    }, 'the accruals');
    let csv = '';
    for await (const { csvChunk } of fleet.client.getReport({ merchantId: merchant.merchantId, fromNs: 0n, toNs: 0n })) csv += csvChunk;
    const rows: Record<string, string>[] = parse(csv, { columns: true });
    const listed = rows.filter((r) => r['type'] === 'payment').map((r) => r['id']);
    expect(listed).toHaveLength(2_500);
    expect(new Set(listed)).toEqual(new Set(payments.map((p) => p.fact.paymentId)));
  });

  it('drains and leaves with 0 on SIGTERM, also while a peer does not answer', async () => {
    const merchant = chain.merchant();
    const hanging = new Promise<void>((arrived) => {
      fleet.peers.before = () => {
        arrived();
        return new Promise<void>(() => undefined);
      };
    });
    await fleet.publish(registered(merchant), collected(merchant, 1n));
    await hanging;
    const startedMs = performance.now();
    expect(await fleet.terminate()).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    fleet.peers.before = () => undefined;
    await fleet.start();
  });

  it('has no error in its log but the breaks of the payments that were invented here', async () => {
    expect(await fleet.terminate()).toBe(0);
    const lines = fleet.log().split('\n').filter((text) => /"level":"(?:error|fatal)"/.test(text));
    expect(lines.filter((text) => !text.includes('ledger and chain differ'))).toEqual([]);
  });
});

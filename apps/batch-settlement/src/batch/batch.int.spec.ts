import { OperationalError } from '@settlement/kernel/errors';
import { IntentKind } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { SealReason } from '@settlement/proto/batch/v1/events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CHAIN, collected, finalized, newId, registered, startLedger, testMerchant, TOKEN, type Ledger, type TestMerchant } from '../../test/ledger-fixture';
import { differencesFromLog } from '../../test/log-fold';
import { siblingId } from '../derived-id';
import { clearHold } from '../payout/payout-hold.store';
import { sealBatches } from './seal.store';

const { INTENT_KIND_SETTLE } = IntentKind;

describe('batches on Postgres', () => {
  let ledger: Ledger;
  let merchant: TestMerchant;

  beforeAll(async () => {
    ledger = await startLedger();
  });
  afterAll(async () => {
    await ledger?.close();
  });
  beforeEach(() => {
    merchant = testMerchant();
  });
  afterEach(async () => {
    expect(await ledger.sum()).toBe(0n);
    expect(await differencesFromLog(ledger)).toEqual([]);
  });

  const seal = (commandId = '') =>
    sealBatches(ledger.store, { chainId: CHAIN, token: TOKEN, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: BigInt(Date.now()) * 1_000_000n, commandId });
  const payoutsOf = (batchId: string) =>
    ledger.rows<{ payout_id: string; merchant_id: string; amount: string; state: string; code: string }>(
      'select payout_id, merchant_id, amount::text, state, code from ledger.payout where batch_id = $1 order by merchant_id',
      [batchId],
    );
  const allPaid = async (batchId: string) =>
    finalized({ subjectId: batchId, kind: INTENT_KIND_SETTLE, payouts: (await payoutsOf(batchId)).map((p) => ({ payoutId: p.payout_id, paid: true })) });

  it('pays a merchant what was collected: accrued, sealed, screened, submitted, settled', async () => {
    const payments = [collected(merchant, 700n), collected(merchant, 300n)];
    await ledger.gateway(registered(merchant), ...payments);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 1_000n, inBatch: 0n, refunding: 0n });

    const [batchId = ''] = await seal();
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 1_000n, refunding: 0n });

    await ledger.batches.advance(batchId);
    const intent = ledger.peers.submitted.get(siblingId('int', batchId));
    expect(intent?.kind.$case).toBe('settle');
    expect(intent?.kind.value).toMatchObject({ token: TOKEN, payouts: [{ merchantKey: merchant.merchantKey, to: merchant.payoutAddress, amountMinor: '1000' }] });
    // 1 payout: (100,000 + 40,000) gas at 10 wei.
    expect(ledger.peers.reserved.get(siblingId('rsv', batchId))?.amountWeiMax).toBe(1_400_000n);

    await ledger.relayer(await allPaid(batchId));
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 0n, refunding: 0n });
    expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'BatchSubmitted', 'PayoutPaid', 'BatchSettled']);
    const [vault] = await ledger.rows<{ sum: string }>(
      `select sum(p.amount)::text as sum from ledger.posting p where account = 'vault' and (journal_id = any($1::text[]) or journal_id like $2)`,
      [payments.map((p) => p.fact.paymentId), `${batchId}%`],
    );
    expect(vault?.sum).toBe('0');
  });

  it('pays nothing for a transaction that is only in a block or was taken back, and says for what it waits', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 500n));
    const [batchId = ''] = await seal();
    await ledger.batches.advance(batchId);
    const final = await allPaid(batchId);
    const block = { transactionId: final.transactionId, chainId: final.chainId, transactionHash: final.transactionHash, outcomes: final.outcomes };
    const why = async () => (await ledger.rows<{ state: string; reason: string }>('select state, reason from ledger.batch where batch_id = $1', [batchId]))[0];

    await ledger.included({ ...block, blockNumber: 20n, blockHash: '0xb1', status: 1, includedAtNs: 1n });
    expect(await why()).toEqual({ state: 'submitted', reason: 'NOT_FINAL' });
    await ledger.reorged({ ...block, blockHash: '0xb1', reorgedAtNs: 2n });
    expect(await why()).toEqual({ state: 'submitted', reason: 'REORGED' });
    expect(await seal()).toEqual([]);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 500n, refunding: 0n });
    expect((await payoutsOf(batchId)).map((p) => p.state)).toEqual(['pending']);

    await ledger.included({ ...block, blockNumber: 21n, blockHash: '0xb2', status: 1, includedAtNs: 3n });
    await ledger.relayer({ ...final, blockNumber: 21n });
    await ledger.reorged({ ...block, blockHash: '0xb1', reorgedAtNs: 2n });
    expect(await why()).toEqual({ state: 'settled', reason: '' });
    expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'BatchSubmitted', 'PayoutPaid', 'BatchSettled']);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 0n, refunding: 0n });
  });

  it('keeps the merchants of a final batch that the chain took back out of batches, once', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 500n));
    const [batchId = ''] = await seal();
    await ledger.batches.advance(batchId);
    const final = await allPaid(batchId);
    await ledger.relayer(final);
    const gone = { transactionId: final.transactionId, chainId: final.chainId, transactionHash: final.transactionHash, outcomes: final.outcomes, blockHash: '0xb1', reorgedAtNs: 2n };
    await ledger.reorged({ ...gone, transactionHash: '0xother' }, 2n);
    const held = () => ledger.rows<{ code: string }>('select code from ledger.payout_hold where merchant_id = $1', [merchant.merchantId]);
    expect(await held()).toEqual([]);
    await ledger.reorged(gone, 2n);
    await ledger.reorged(gone, 2n);
    expect(await held()).toEqual([{ code: 'FINALITY_VIOLATED' }]);
    expect(await ledger.rows('select state, reason from ledger.batch where batch_id = $1', [batchId])).toEqual([{ state: 'settled', reason: 'FINALITY_VIOLATED' }]);
    await ledger.gateway(collected(merchant, 7n));
    expect(await seal()).toEqual([]);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 7n, inBatch: 0n, refunding: 0n });
  });

  it('takes the same finality twice for one', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 5n));
    const [batchId = ''] = await seal();
    await ledger.batches.advance(batchId);
    const fact = await allPaid(batchId);
    await ledger.relayer(fact);
    await ledger.relayer(fact);
    expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'BatchSubmitted', 'PayoutPaid', 'BatchSettled']);
  });

  it('gives a failed payout back, holds its merchant and pays the others', async () => {
    const other = testMerchant();
    await ledger.gateway(registered(merchant), registered(other), collected(merchant, 40n), collected(other, 60n));
    const [batchId = ''] = await seal();
    await ledger.batches.advance(batchId);
    const payouts = await payoutsOf(batchId);
    await ledger.relayer(
      finalized({
        subjectId: batchId,
        kind: INTENT_KIND_SETTLE,
        payouts: payouts.map((p) => ({
          payoutId: p.payout_id,
          paid: p.merchant_id !== merchant.merchantId,
          reason: p.merchant_id === merchant.merchantId ? IntentReason.INTENT_REASON_BLACKLISTED : IntentReason.INTENT_REASON_UNSPECIFIED,
        })),
      }),
    );
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 40n, inBatch: 0n, refunding: 0n });
    expect(await ledger.balances(other.merchantId)).toEqual({ payable: 0n, inBatch: 0n, refunding: 0n });
    expect((await payoutsOf(batchId)).find((p) => p.merchant_id === merchant.merchantId)).toMatchObject({ state: 'held', code: 'BLACKLISTED' });
    // Held: not tried again until a person has cleared it.
    expect(await seal()).toEqual([]);
    expect(await clearHold(ledger.store, { merchantId: merchant.merchantId, chainId: CHAIN, token: TOKEN }, 'clear-1', 1n)).toBe(true);
    const [again = ''] = await seal();
    expect(await payoutsOf(again)).toMatchObject([{ merchant_id: merchant.merchantId, amount: '40' }]);
    await ledger.batches.advance(again);
    await ledger.relayer(await allPaid(again));
  });

  it('leaves a payee that screening refuses out of the intent', async () => {
    const other = testMerchant();
    ledger.peers.refusedAddresses.set(merchant.payoutAddress, 'SANCTIONED_ADDRESS');
    await ledger.gateway(registered(merchant), registered(other), collected(merchant, 1n), collected(other, 2n));
    const [batchId = ''] = await seal();
    await ledger.batches.advance(batchId);
    const intent = ledger.peers.submitted.get(siblingId('int', batchId));
    expect(intent?.kind.value).toMatchObject({ payouts: [{ to: other.payoutAddress }] });
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 1n, inBatch: 0n, refunding: 0n });
    expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'PayoutFailed', 'BatchSubmitted']);
    await ledger.relayer(finalized({ subjectId: batchId, kind: INTENT_KIND_SETTLE, payouts: (await payoutsOf(batchId)).filter((p) => p.state === 'pending').map((p) => ({ payoutId: p.payout_id, paid: true })) }));
  });

  it('two sealers at once claim each payment once', async () => {
    const payments = Array.from({ length: 20 }, () => collected(merchant, 1n));
    await ledger.gateway(registered(merchant), ...payments);
    // Interleaving: both read what is payable before either has committed; the sequence row lets one through at a time.
    const sealed = (await Promise.all([seal(), seal(), seal(), seal()])).flat();
    expect(sealed).toHaveLength(1);
    const [batchId = ''] = sealed;
    expect(await payoutsOf(batchId)).toMatchObject([{ amount: '20' }]);
    await ledger.batches.advance(batchId);
    await ledger.relayer(await allPaid(batchId));
  });

  it('answers a repeated close command with the batches of the first', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 3n));
    const commandId = newId('int');
    const first = await seal(commandId);
    expect(first).toHaveLength(1);
    expect(await seal(commandId)).toEqual(first);
    await ledger.batches.advance(first[0] ?? '');
    await ledger.relayer(await allPaid(first[0] ?? ''));
  });

  describe('crash windows', () => {
    const lost = new OperationalError('CANCELLED', 'the answer was lost', 'unknown');

    it.each([
      ['between seal and screening', { call: 'screen', when: 'before', error: lost }],
      ['between screening and its record', { call: 'screen', when: 'after', error: lost }],
      ['between screening and reservation', { call: 'reserve', when: 'before', error: lost }],
      ['between reservation and submission', { call: 'reserve', when: 'after', error: lost }],
      ['before the submission arrives', { call: 'submit', when: 'before', error: lost }],
      ['between submission and its answer', { call: 'submit', when: 'after', error: lost }],
    ] as const)('%s: the same calls again, one intent', async (_window, failure) => {
      await ledger.gateway(registered(merchant), collected(merchant, 9n));
      const [batchId = ''] = await seal();
      const intentsBefore = ledger.peers.submitted.size;
      ledger.peers.failNext = failure;
      await expect(ledger.batches.advance(batchId)).rejects.toThrow('the answer was lost');
      await ledger.batches.advance(batchId);
      expect(ledger.peers.submitted.size).toBe(intentsBefore + 1);
      expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'BatchSubmitted']);
      await ledger.relayer(await allPaid(batchId));
      expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 0n, refunding: 0n });
    });

    it('submitted, not recorded, and final before the retry: the outcome counts all the same', async () => {
      await ledger.gateway(registered(merchant), collected(merchant, 9n));
      const [batchId = ''] = await seal();
      ledger.peers.failNext = { call: 'submit', when: 'after', error: lost };
      await expect(ledger.batches.advance(batchId)).rejects.toThrow('the answer was lost');
      await ledger.relayer(await allPaid(batchId));
      await ledger.batches.advance(batchId);
      expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'PayoutPaid', 'BatchSettled']);
    });
  });

  it('gives everything back when the relayer refuses the batch, and rests before the next', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 8n));
    const [batchId = ''] = await seal();
    ledger.peers.relayRefusal = 'VAULT_FROZEN';
    await ledger.batches.advance(batchId);
    ledger.peers.relayRefusal = undefined;
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 8n, inBatch: 0n, refunding: 0n });
    expect(ledger.peers.released).toContain(siblingId('rsv', batchId));
    expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'BatchAbandoned']);
    expect(await ledger.batches.closeDue()).toEqual([]);
    // A person may ask for it at once.
    const [next = ''] = await seal();
    await ledger.batches.advance(next);
    await ledger.relayer(await allPaid(next));
  });

  it('waits while the sponsor has no budget, and goes on when it has', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 4n));
    const [batchId = ''] = await seal();
    ledger.peers.sponsorRefusal = 'SPONSOR_BUDGET_EXCEEDED';
    await ledger.batches.advance(batchId);
    expect(await ledger.rows('select state, reason from ledger.batch where batch_id = $1', [batchId])).toEqual([{ state: 'screened', reason: 'SPONSOR_BUDGET_EXCEEDED' }]);
    ledger.peers.sponsorRefusal = undefined;
    await ledger.batches.advance(batchId);
    await ledger.relayer(await allPaid(batchId));
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 0n, refunding: 0n });
  });

  it('waits while screening is away: never go without a decision (I3)', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 4n));
    const [batchId = ''] = await seal();
    const intents = ledger.peers.submitted.size;
    const failures: string[] = [];
    ledger.peers.failNext = { call: 'screen', when: 'before', error: new OperationalError('NO_USABLE_LIST', 'no list', 'not-done') };
    await ledger.batches.advanceAll((id) => failures.push(id));
    expect(failures).toEqual([batchId]);
    expect(ledger.peers.submitted.size).toBe(intents);
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 4n, refunding: 0n });
    await ledger.batches.advance(batchId);
    await ledger.relayer(await allPaid(batchId));
  });

  it('keeps the money in the batch when the vault has seen its key before', async () => {
    await ledger.gateway(registered(merchant), collected(merchant, 6n));
    const [batchId = ''] = await seal();
    await ledger.batches.advance(batchId);
    await ledger.relayer(finalized({ subjectId: batchId, kind: INTENT_KIND_SETTLE, executed: false, reason: IntentReason.INTENT_REASON_DUPLICATE }));
    expect(await ledger.balances(merchant.merchantId)).toEqual({ payable: 0n, inBatch: 6n, refunding: 0n });
    expect(await ledger.eventTypes(`batch-${batchId}`)).toEqual(['BatchSealed', 'BatchScreened', 'BatchSubmitted', 'BatchDisputed']);
  });

  it('puts at most 200 payouts into a batch', async () => {
    const many = Array.from({ length: 201 }, () => testMerchant());
    await ledger.gateway(...many.map(registered), ...many.map((m) => collected(m, 1n)));
    const sealed = await seal();
    expect(await Promise.all(sealed.map(async (id) => (await payoutsOf(id)).length))).toEqual([200, 1]);
  });
});

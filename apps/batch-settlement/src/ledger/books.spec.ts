import { fold } from '@settlement/kernel/decider';
import { SealReason } from '@settlement/proto/batch/v1/events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BatchEvent, RefundEvent } from '../batch-settlement.events';
import { batchDecider, type BatchState } from '../batch/batch.decider';
import { planPayouts } from '../batch/seal.policy';
import { refundDecider } from '../refund/refund.decider';
import { inBatch, merchantPayable, refunding, VAULT } from './account';
import { journalDecider, type Line } from './journal.decider';
import { accrualLines, payoutGivenBackLines, payoutPaidLines, refundGivenBackLines, refundPaidLines, refundReservedLines, sealLines } from './journals';

const CHAIN = 'eip155:31337';
const USDC = 'USDC';
const MERCHANTS = ['mer_a', 'mer_b', 'mer_c'] as const;
const at = (merchantId: string, amount: bigint) => ({ merchantId, chainId: CHAIN, token: USDC, amount });

/** The deciders and policies over books in memory, and beside them a chain that knows only what really moved. */
class World {
  readonly balances = new Map<string, bigint>();
  readonly payments: { readonly id: string; readonly merchantId: string; readonly amount: bigint; refunded: bigint; payoutId: string }[] = [];
  readonly batches: { state: BatchState; readonly events: BatchEvent[] }[] = [];
  readonly refunds: { readonly id: string; readonly payment: number; readonly amount: bigint; readonly events: RefundEvent[] }[] = [];
  vaultOnChain = 0n;
  private next = 0;

  private post(lines: readonly Line[]): void {
    const decision = journalDecider.decide(
      { type: 'PostJournal', journalId: `j${this.next++}`, cause: 'test', lines, nowNs: 0n, blockNumber: 0n, transactionHash: '' },
      journalDecider.initialState,
    );
    expect(decision.kind).toBe('accepted');
    for (const { account, amount } of lines) this.balances.set(account, (this.balances.get(account) ?? 0n) + amount);
  }

  private owed(account: string): bigint {
    return -(this.balances.get(account) ?? 0n);
  }

  collect(merchantId: string, amount: bigint): void {
    this.vaultOnChain += amount;
    this.payments.push({ id: `pay_${this.next++}`, merchantId, amount, refunded: 0n, payoutId: '' });
    this.post(accrualLines(at(merchantId, amount)));
  }

  requestRefund(pick: number, amount: bigint): void {
    const payment = this.payments.length === 0 ? undefined : pick % this.payments.length;
    const target = payment === undefined ? undefined : this.payments[payment];
    if (payment === undefined || target === undefined) return;
    const decision = refundDecider.decide(
      {
        type: 'ReserveRefund',
        refundId: `ref_${this.next}`,
        paymentId: target.id,
        merchantId: target.merchantId,
        token: USDC,
        amount,
        refundable: target.amount - target.refunded,
        payable: this.owed(merchantPayable(target.merchantId)),
        nowNs: 0n,
      },
      refundDecider.initialState,
    );
    if (decision.kind === 'rejected') throw new Error('a request is always answered by an event');
    this.refunds.push({ id: `ref_${this.next++}`, payment, amount, events: [...decision.events] });
    if (decision.events[0]?.type !== 'RefundReserved') return;
    target.refunded += amount;
    this.post(refundReservedLines(at(target.merchantId, amount)));
  }

  endRefund(pick: number, paid: boolean): void {
    const refund = this.refunds[pick % Math.max(1, this.refunds.length)];
    const target = refund === undefined ? undefined : this.payments[refund.payment];
    if (refund === undefined || target === undefined) return;
    const state = fold(refundDecider, refund.events);
    if (state.status === 'rejected' && paid) return;
    const decision = refundDecider.decide(paid ? { type: 'RecordRefundPaid', transactionHash: '0x', nowNs: 1n } : { type: 'RejectRefund', code: 'BLACKLISTED', nowNs: 1n }, state);
    if (decision.kind === 'rejected') throw new Error(decision.rejection.code);
    refund.events.push(...decision.events);
    for (const event of decision.events) {
      if (event.type === 'RefundPaid') {
        this.vaultOnChain -= refund.amount;
        this.post(refundPaidLines(at(target.merchantId, refund.amount)));
      } else if (event.type === 'RefundRejected') {
        target.refunded -= refund.amount;
        this.post(refundGivenBackLines(at(target.merchantId, refund.amount)));
      }
    }
  }

  seal(paymentsMax: number): void {
    const open = this.payments.filter((p) => p.payoutId === '' && p.refunded < p.amount).slice(0, paymentsMax);
    const complete = open.length < paymentsMax;
    const planned = planPayouts(
      MERCHANTS.map((merchantId) => ({
        merchantId,
        merchantKey: merchantId,
        payoutAddress: merchantId,
        payable: this.owed(merchantPayable(merchantId)),
        payments: open.filter((p) => p.merchantId === merchantId).map((p) => ({ paymentId: p.id, amountLeft: p.amount - p.refunded })),
        complete,
      })),
    );
    for (const batch of planned) {
      const batchId = `bat_${this.next++}`;
      const payouts = batch.map((p) => ({ ...p, payoutId: `out_${batchId}_${p.merchantId}` }));
      const decision = batchDecider.decide(
        { type: 'SealBatch', batchId, batchKey: batchId, chainId: CHAIN, token: USDC, payouts, reason: SealReason.SEAL_REASON_REQUESTED, nowNs: 0n },
        batchDecider.initialState,
      );
      if (decision.kind === 'rejected') throw new Error(decision.rejection.code);
      for (const payout of payouts) {
        this.post(sealLines(at(payout.merchantId, payout.amount)));
        for (const id of payout.paymentIds) {
          const payment = this.payments.find((p) => p.id === id);
          expect(payment?.payoutId).toBe('');
          if (payment !== undefined) payment.payoutId = payout.payoutId;
        }
      }
      this.batches.push({ state: fold(batchDecider, decision.events), events: [...decision.events] });
    }
  }

  stepBatch(pick: number, outcomes: readonly boolean[], abandon: boolean): void {
    const batch = this.batches[pick % Math.max(1, this.batches.length)];
    if (batch === undefined || !('open' in batch.state)) return;
    const { state } = batch;
    const payouts = [...state.open.keys()];
    const good = (i: number): boolean => outcomes[i % outcomes.length] ?? true;
    const decision = batchDecider.decide(
      abandon
        ? { type: 'AbandonBatch', code: 'REVERTED', nowNs: 1n }
        : state.status === 'sealed'
          ? { type: 'RecordScreening', payouts: payouts.map((payoutId, i) => ({ payoutId, screeningId: 'scr', allowed: good(i), code: good(i) ? '' : 'HELD_BY_SCREENING' })), nowNs: 1n }
          : { type: 'RecordExecution', transactionHash: '0x', blockNumber: 1n, payouts: payouts.map((payoutId, i) => ({ payoutId, paid: good(i), code: good(i) ? '' : 'BLACKLISTED' })), nowNs: 1n },
      state,
    );
    if (decision.kind === 'rejected') throw new Error(decision.rejection.code);
    const over = new Set<string>();
    for (const event of decision.events) {
      if (event.type === 'PayoutPaid') {
        over.add(event.payoutId);
        this.vaultOnChain -= BigInt(event.amount?.amountMinor ?? '0');
        this.post(payoutPaidLines(at(event.merchantId, BigInt(event.amount?.amountMinor ?? '0'))));
      } else if (event.type === 'PayoutFailed') {
        over.add(event.payoutId);
        this.giveBack(event.payoutId, event.merchantId, BigInt(event.amount?.amountMinor ?? '0'));
      }
    }
    if (decision.events.some((e) => e.type === 'BatchAbandoned')) {
      for (const p of state.open.values()) if (!over.has(p.payoutId)) this.giveBack(p.payoutId, p.merchantId, BigInt(p.amountMinor));
    }
    batch.state = fold(batchDecider, decision.events, batch.state);
  }

  private giveBack(payoutId: string, merchantId: string, amount: bigint): void {
    for (const payment of this.payments) if (payment.payoutId === payoutId) payment.payoutId = '';
    this.post(payoutGivenBackLines(at(merchantId, amount)));
  }

  check(): void {
    const sum = [...this.balances.values()].reduce((a, b) => a + b, 0n);
    expect(sum).toBe(0n);
    expect(this.balances.get(VAULT) ?? 0n).toBe(this.vaultOnChain);
    for (const merchantId of MERCHANTS) {
      for (const account of [merchantPayable(merchantId), inBatch(merchantId), refunding(merchantId)]) expect(this.owed(account) >= 0n, account).toBe(true);
    }
    for (const payment of this.payments) expect(payment.refunded <= payment.amount).toBe(true);
  }
}

const nat = fc.nat({ max: 50 });
const step = fc.oneof(
  fc.record({ do: fc.constant('collect' as const), merchant: fc.constantFrom(...MERCHANTS), amount: fc.bigInt({ min: 1n, max: 100n }) }),
  fc.record({ do: fc.constant('refund' as const), pick: nat, amount: fc.bigInt({ min: 0n, max: 120n }) }),
  fc.record({ do: fc.constant('end-refund' as const), pick: nat, paid: fc.boolean() }),
  fc.record({ do: fc.constant('seal' as const), paymentsMax: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ do: fc.constant('step-batch' as const), pick: nat, outcomes: fc.array(fc.boolean(), { minLength: 1, maxLength: 3 }), abandon: fc.boolean() }),
);

describe('the books over any sequence of accruals, refunds, seals and outcomes', () => {
  it('sum to zero, equal the chain, and owe nobody less than nothing', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = new World();
        for (const s of steps) {
          switch (s.do) {
            case 'collect':
              world.collect(s.merchant, s.amount);
              break;
            case 'refund':
              world.requestRefund(s.pick, s.amount);
              break;
            case 'end-refund':
              world.endRefund(s.pick, s.paid);
              break;
            case 'seal':
              world.seal(s.paymentsMax);
              break;
            case 'step-batch':
              world.stepBatch(s.pick, s.outcomes, s.abandon);
              break;
            default:
              s satisfies never;
          }
          world.check();
        }
      }),
      { numRuns: 300 },
    );
  });
});

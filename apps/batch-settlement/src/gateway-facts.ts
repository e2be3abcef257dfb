import type { RecordedEvent } from '@settlement/event-store/event';
import type { Transaction } from '@settlement/event-store/port';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import { invariant } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { MerchantRegistered, PaymentCollected, PaymentConfirmed, PaymentDisputed, PaymentReorged, RefundRequested } from '@settlement/proto/gateway/v1/events';
import { accrue, type CollectedPayment } from './ledger/accrual.store';
import { appendAll } from './ledger/ledger.store';
import type { Credit } from './ledger/pending.policy';
import { postPending, type PendingNews } from './ledger/pending.store';
import { recordMerchants } from './merchant/merchant.projection';
import { holdMerchants } from './payout/payout-hold.store';
import { reserveRefunds, type RequestedRefund } from './refund/refund.store';

export const GATEWAY_FACTS = ['MerchantRegistered', 'PaymentConfirmed', 'PaymentReorged', 'PaymentCollected', 'PaymentDisputed', 'RefundRequested'] as const;

/**
 * What the gateway's facts do here: merchants are known, confirmed payments pend until the chain takes them back or makes them
 * final, collected ones are credited, refunds reserved or rejected. A merchant one of whose final payments the chain took back
 * is kept out of batches: its balance may be more than the vault holds for it.
 */
export function gatewayFacts(clock: Clock): FeedProjection {
  return {
    async apply(tx: Transaction, events: readonly RecordedEvent[]) {
      const merchants: MerchantRegistered[] = [];
      const collected: CollectedPayment[] = [];
      const refunds: RequestedRefund[] = [];
      const pending: PendingNews[] = [];
      const disputed: PaymentDisputed[] = [];
      for (const { type, payload, traceparent, streamVersion: version } of events) {
        if (type === 'MerchantRegistered') merchants.push(MerchantRegistered.decode(payload));
        else if (type === 'PaymentConfirmed') {
          const fact = PaymentConfirmed.decode(payload);
          pending.push({ fact: { type: 'Confirmed', version, ...creditOf(fact), ...placeOf(fact) }, traceparent });
        } else if (type === 'PaymentReorged') {
          const fact = PaymentReorged.decode(payload);
          pending.push({ fact: { type: 'Reorged', version, ...creditOf(fact), ...placeOf(fact) }, traceparent });
        } else if (type === 'PaymentCollected') {
          const fact = PaymentCollected.decode(payload);
          pending.push({ fact: { type: 'Collected', ...creditOf(fact) }, traceparent });
          collected.push({ fact, traceparent });
        } else if (type === 'PaymentDisputed') disputed.push(PaymentDisputed.decode(payload));
        else if (type === 'RefundRequested') refunds.push({ fact: RefundRequested.decode(payload), traceparent });
      }
      const nowNs = clock.nowNs();
      await recordMerchants(tx, merchants);
      // A refund follows its payment in the same partition, so a batch that holds both finds the payment accrued.
      const { appends: pended, released } = await postPending(tx, pending, nowNs);
      const accrued = await accrue(tx, collected, released, nowNs);
      const held = await holdMerchants(tx, disputed.map(holdOf), nowNs);
      const reserved = await reserveRefunds(tx, refunds, nowNs);
      // Last, since it takes the locks of the log's partitions.
      await appendAll(tx, [...pended, ...accrued, ...held, ...reserved]);
    },
  };
}

function creditOf({ paymentId, merchantId, chainId, amount }: Pick<PaymentConfirmed, 'paymentId' | 'merchantId' | 'chainId' | 'amount'>): Credit {
  invariant(amount !== undefined, 'PAYMENT_WITHOUT_AMOUNT', 'a payment has no amount', { paymentId });
  return { paymentId, merchantId, chainId, token: amount.token, amount: BigInt(amount.amountMinor) };
}

function placeOf({ transactionHash, blockNumber, blockHash }: Pick<PaymentConfirmed, 'transactionHash' | 'blockNumber' | 'blockHash'>) {
  return { transactionHash, blockNumber, blockHash };
}

function holdOf(fact: PaymentDisputed) {
  const { paymentId, merchantId, chainId, token } = creditOf(fact);
  // The payment stands where a failed payout's id would: it is what a person has to look at.
  return { merchantId, chainId, token, payoutId: paymentId, code: fact.code };
}

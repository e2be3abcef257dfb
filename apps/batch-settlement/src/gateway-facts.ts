import type { RecordedEvent } from '@settlement/event-store/event';
import type { Transaction } from '@settlement/event-store/port';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import type { Clock } from '@settlement/kernel/time';
import { MerchantRegistered, PaymentCollected, RefundRequested } from '@settlement/proto/gateway/v1/events';
import { accrue, type CollectedPayment } from './ledger/accrual.store';
import { appendAll } from './ledger/ledger.store';
import { recordMerchants } from './merchant/merchant.projection';
import { reserveRefunds, type RequestedRefund } from './refund/refund.store';

export const GATEWAY_FACTS = ['MerchantRegistered', 'PaymentCollected', 'RefundRequested'] as const;

/** What the gateway's facts do here: merchants are known, collected payments credited, refunds reserved or rejected. */
export function gatewayFacts(clock: Clock): FeedProjection {
  return {
    async apply(tx: Transaction, events: readonly RecordedEvent[]) {
      const merchants: MerchantRegistered[] = [];
      const collected: CollectedPayment[] = [];
      const refunds: RequestedRefund[] = [];
      for (const { type, payload, traceparent } of events) {
        if (type === 'MerchantRegistered') merchants.push(MerchantRegistered.decode(payload));
        else if (type === 'PaymentCollected') collected.push({ fact: PaymentCollected.decode(payload), traceparent });
        else if (type === 'RefundRequested') refunds.push({ fact: RefundRequested.decode(payload), traceparent });
      }
      const nowNs = clock.nowNs();
      await recordMerchants(tx, merchants);
      // A refund follows its payment in the same partition, so a batch that holds both finds the payment accrued.
      const accrued = await accrue(tx, collected, nowNs);
      const reserved = await reserveRefunds(tx, refunds, nowNs);
      // Last, since it takes the locks of the log's partitions.
      await appendAll(tx, [...accrued, ...reserved]);
    },
  };
}

import type { RecordedEvent } from '@settlement/event-store/event';
import { PaymentCreated } from '@settlement/proto/gateway/v1/events';
import { describe, expect, it } from 'vitest';
import { viewChanges } from './payment-view.projection';

const created = (id: string): RecordedEvent =>
  ({
    type: 'PaymentCreated', schemaVersion: 1, streamId: `payment-${id}`,
    payload: PaymentCreated.encode(PaymentCreated.fromPartial({ paymentId: id, merchantId: 'mer_1', mode: 1, reference: `ref of ${id}`, amount: { token: 'USDC', amountMinor: '5' }, createdAtNs: 9n })).finish(),
  }) as RecordedEvent;
const event = (id: string, type: string): RecordedEvent => ({ type, schemaVersion: 1, streamId: `payment-${id}`, payload: new Uint8Array() }) as RecordedEvent;

describe('the list of payments', () => {
  it('gets a row for each created payment, with its last status of the batch', () => {
    expect(viewChanges([created('a'), event('a', 'PaymentAccepted'), created('b'), event('a', 'PaymentScreened'), event('a', 'PaymentSubmitted')])).toEqual({
      created: [
        { paymentId: 'a', merchantId: 'mer_1', reference: 'ref of a', status: 'submitted', createdAtNs: 9n },
        { paymentId: 'b', merchantId: 'mer_1', reference: 'ref of b', status: 'awaiting_authorization', createdAtNs: 9n },
      ],
      statuses: new Map(),
    });
  });

  it('changes the status of rows that were there before, once a payment', () => {
    expect(viewChanges([event('a', 'PaymentCollected'), event('b', 'PaymentHeld'), event('a', 'PaymentPaidOut')])).toEqual({ created: [], statuses: new Map([['a', 'paid_out'], ['b', 'held']]) });
  });

  it('goes back to submitted with a reorganisation', () => {
    expect(viewChanges([event('a', 'PaymentConfirmed')]).statuses).toEqual(new Map([['a', 'confirmed']]));
    expect(viewChanges([event('a', 'PaymentConfirmed'), event('a', 'PaymentReorged')]).statuses).toEqual(new Map([['a', 'submitted']]));
  });

  it('is not changed by steps, refunds and other streams', () => {
    expect(viewChanges([event('a', 'PaymentScreened'), event('a', 'RefundRequested'), { ...event('a', 'MerchantRegistered'), streamId: 'merchant-mer_1' }])).toEqual({ created: [], statuses: new Map() });
  });
});

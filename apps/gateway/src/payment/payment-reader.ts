import { fold } from '@settlement/kernel/decider';
import type { MerchantId, PaymentId } from '@settlement/kernel/ids';
import type { EventStore } from '@settlement/event-store/port';
import { paymentCodec } from './payment.codec';
import { paymentDecider, type PaymentState } from './payment.decider';
import { paymentStream, type PaymentEvent } from './payment.events';

export interface LoadedPayment {
  readonly events: readonly PaymentEvent[];
  readonly state: Exclude<PaymentState, { status: 'absent' }>;
  readonly version: bigint;
}

/** Payments as they stand in the log: what was answered is what is read. */
export class PaymentReader {
  constructor(private readonly store: EventStore) {}

  /** Undefined when there is none, or when it is another merchant's: who may not see it learns nothing. */
  async load(paymentId: PaymentId, merchantId: MerchantId): Promise<LoadedPayment | undefined> {
    const recorded = await this.store.readStream(paymentStream(paymentId));
    return visible(loaded(recorded.map((event) => paymentCodec.decode(event)), recorded.at(-1)?.streamVersion ?? 0n), merchantId);
  }

  /** In order; those that are not there or not the merchant's are left out. */
  async loadMany(paymentIds: readonly PaymentId[], merchantId: MerchantId): Promise<readonly LoadedPayment[]> {
    const streams = await this.store.readStreams(paymentIds.map(paymentStream));
    return paymentIds.flatMap((paymentId) => {
      const recorded = streams.get(paymentStream(paymentId)) ?? [];
      return visible(loaded(recorded.map((event) => paymentCodec.decode(event)), recorded.at(-1)?.streamVersion ?? 0n), merchantId) ?? [];
    });
  }
}

function loaded(events: readonly PaymentEvent[], version: bigint): LoadedPayment | undefined {
  const state = fold(paymentDecider, events);
  return state.status === 'absent' ? undefined : { events, state, version };
}

function visible(payment: LoadedPayment | undefined, merchantId: MerchantId): LoadedPayment | undefined {
  return payment?.state.terms.merchantId === merchantId ? payment : undefined;
}

import { context, createContextKey } from '@opentelemetry/api';

const PAYMENT = createContextKey('settlement.payment');

/** Runs `work` for one payment: every log line below it carries the payment's id, however deep it is written. */
export function withPayment<T>(paymentId: string, work: () => T): T {
  return context.with(context.active().setValue(PAYMENT, paymentId), work);
}

/** The payment that is worked for here, if it is one alone; a batch names its payments in its own lines. */
export function activePayment(): string | undefined {
  const value = context.active().getValue(PAYMENT);
  return typeof value === 'string' ? value : undefined;
}

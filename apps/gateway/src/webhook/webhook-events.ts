import type { PaymentEvent } from '../payment/payment.events';

/** What merchants can be told, by the fact that it tells. */
export const WEBHOOK_TYPE_OF = {
  PaymentAccepted: 'payment.accepted',
  PaymentHeld: 'payment.held',
  PaymentRefused: 'payment.refused',
  PaymentConfirmed: 'payment.confirmed',
  PaymentReorged: 'payment.reorged',
  PaymentCollected: 'payment.collected',
  PaymentDisputed: 'payment.disputed',
  PaymentPaidOut: 'payment.paid_out',
  RefundSucceeded: 'refund.succeeded',
  RefundFailed: 'refund.failed',
} as const satisfies Partial<Record<PaymentEvent['type'], string>>;

export type WebhookType = (typeof WEBHOOK_TYPE_OF)[keyof typeof WEBHOOK_TYPE_OF];

export const WEBHOOK_TYPES = Object.values(WEBHOOK_TYPE_OF);
export const WEBHOOK_FACTS: readonly string[] = Object.keys(WEBHOOK_TYPE_OF);

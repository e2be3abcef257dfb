import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import type { PaymentId, ScreeningId } from '@settlement/kernel/ids';
import type { HoldReason } from '../payment/payment.events';

export interface ScreeningQuestion {
  readonly screeningId: ScreeningId;
  readonly paymentId: PaymentId;
  readonly chainId: ChainId;
  readonly payer: EvmAddress;
  readonly payee: EvmAddress;
}

export type ScreeningAnswer =
  | { readonly verdict: 'allow'; readonly listVersions: readonly string[] }
  | { readonly verdict: 'hold'; readonly reason: HoldReason }
  | { readonly verdict: 'reject'; readonly code: string };

/** How a call to another service is bound to its cause. */
export interface CallOrigin {
  readonly signal: AbortSignal;
  readonly traceparent: string;
}

/** May these payments go on? Idempotent by screening id; down, stale or unsure throws `OperationalError`: wait. */
export interface Screener {
  screenMany(questions: readonly ScreeningQuestion[], origin: CallOrigin): Promise<readonly ScreeningAnswer[]>;
}

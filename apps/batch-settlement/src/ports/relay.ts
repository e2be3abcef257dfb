import type { RefundIntent, SettleIntent } from '@settlement/proto/relayer/v1/relayer';

export interface IntentToSubmit {
  readonly intentId: string;
  readonly chainId: string;
  readonly subjectId: string;
  /** The recorded decision that allows it (I3). */
  readonly screeningId: string;
  readonly sponsorId: string;
  readonly reservationId: string;
  readonly kind: { readonly $case: 'settle'; readonly value: SettleIntent } | { readonly $case: 'refund'; readonly value: RefundIntent };
}

export type SubmissionAnswer =
  | { readonly intentId: string; readonly accepted: true }
  /** `code` is the relayer's reason, such as `VAULT_FROZEN`; nothing was or will be executed. */
  | { readonly intentId: string; readonly accepted: false; readonly code: string };

/** What reservations are made with. */
export interface GasTerms {
  readonly feePerGasWeiMax: bigint;
  readonly settleGasBase: bigint;
  readonly settleGasItem: bigint;
  readonly refundGas: bigint;
}

/** The one that executes on the chain. Idempotent by intent id: what was accepted is accepted again. */
export interface Relay {
  submit(intents: readonly IntentToSubmit[]): Promise<readonly SubmissionAnswer[]>;
  gasTerms(chainId: string): Promise<GasTerms>;
}

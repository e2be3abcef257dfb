import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import type { IntentId, ReservationId, ScreeningId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { X402PaymentAccepted } from '../x402/settlement.events';
import type { CallOrigin } from './screener';

export interface DirectTransferRequest {
  readonly intentId: IntentId;
  readonly screeningId: ScreeningId;
  readonly reservationId: ReservationId;
  readonly terms: X402PaymentAccepted;
}

export type DirectTransferAnswer = { readonly accepted: true } | { readonly accepted: false; readonly code: string };

/** Where an intent stands at the relayer. Hash and block are those of its latest transaction; empty and 0n before there is one. */
export interface IntentProgress {
  readonly state: 'unknown' | 'accepted' | 'in-flight' | 'included' | 'final' | 'failed';
  /** Of a failed one. */
  readonly code: string;
  readonly transactionHash: string;
  readonly blockNumber: bigint;
}

/** Executes payments that go straight from payer to payee, each once. Idempotent by intent id. */
export interface DirectRelayer {
  /** The most that this payment's gas can cost now. */
  costMax(terms: X402PaymentAccepted, origin: CallOrigin): Promise<Wei>;
  submitMany(requests: readonly DirectTransferRequest[], origin: CallOrigin): Promise<readonly DirectTransferAnswer[]>;
  /** In the order asked. */
  progressOf(intentIds: readonly IntentId[], origin: CallOrigin): Promise<readonly IntentProgress[]>;
  /** Whose keys sign on this chain. */
  signers(chainId: ChainId, origin: CallOrigin): Promise<readonly EvmAddress[]>;
}

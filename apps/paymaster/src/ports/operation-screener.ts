import type { ChainId, EvmAddress } from '@settlement/kernel/address';

export interface ScreeningQuestion {
  readonly screeningId: string;
  readonly sponsorshipId: string;
  readonly chainId: ChainId;
  readonly sender: EvmAddress;
  /** Contracts that are called and everybody that receives money by the calls, as far as they can be read. */
  readonly payees: readonly EvmAddress[];
}

/** Asks compliance-screening. Throws `OperationalError` when it cannot answer: that is *wait*, never *go* (I3). */
export interface OperationScreener {
  screen(question: ScreeningQuestion, traceparent: string): Promise<'allow' | 'hold' | 'reject'>;
}

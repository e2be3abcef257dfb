import type { RpcClient } from '@settlement/rpc/grpc-client';
import type { Clock } from '@settlement/kernel/time';
import { SubmitOutcome, type RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import type { GasTerms, Relay } from '../ports/relay';
import { reasonCode } from '../reason-code';

/** The fee ceiling changes with configuration only; asked again now and then all the same. */
const TERMS_AGE_MS_MAX = 30_000;

/** The relayer over gRPC. `signal` cuts calls in hand. */
export function grpcRelay(client: RpcClient<RelayerServiceService>, clock: Clock, signal: AbortSignal): Relay {
  const known = new Map<string, { readonly terms: GasTerms; readonly atMs: number }>();
  return {
    async submit(intents) {
      if (intents.length === 0) return [];
      const { items } = await client.submitMany({ items: [...intents] }, { idempotent: true, deadlineMs: 20_000, signal });
      return items.map(({ intentId, outcome, reason }) =>
        outcome === SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED ? { intentId, accepted: true } : { intentId, accepted: false, code: reasonCode(reason) },
      );
    },
    async gasTerms(chainId) {
      const cached = known.get(chainId);
      if (cached !== undefined && clock.monotonicMs() - cached.atMs < TERMS_AGE_MS_MAX) return cached.terms;
      const chain = await client.describeChain({ chainId }, { idempotent: true, deadlineMs: 5_000, signal });
      const terms: GasTerms = {
        feePerGasWeiMax: BigInt(chain.feePerGasWeiMax),
        settleGasBase: chain.settleGasBaseMax,
        settleGasItem: chain.settleGasItemMax,
        refundGas: chain.refundGasMax,
      };
      known.set(chainId, { terms, atMs: clock.monotonicMs() });
      return terms;
    },
  };
}

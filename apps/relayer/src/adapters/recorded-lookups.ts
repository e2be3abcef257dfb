import type { Intent } from '../intent/intent';
import type { WorkLookups } from '../ports/work-lookups';
import { onceKey } from './work-projection';
import type { WorkState } from './work-state';

export function recordedLookups(state: WorkState): WorkLookups {
  return {
    nextNonce: (chainId, keyAddress) => state.nextNonce(chainId, keyAddress),
    reverts: (intentIds) => state.reverts(intentIds),
    claimedByOther: (intent) => state.claimedByOther(onceKeyOf(intent), intent.intentId),
  };
}

function onceKeyOf({ chainId, call }: Intent): string {
  switch (call.kind) {
    case 'collect':
      return onceKey(chainId, call.from, call.nonce);
    case 'settle':
      return onceKey(chainId, 'batch', call.batchKey);
    case 'refund':
      return onceKey(chainId, 'refund', call.refundKey);
  }
}

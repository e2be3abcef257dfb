import type { Intent } from '../intent/intent';
import type { OpenWork } from '../lane/open-work';
import type { WorkLookups } from '../ports/work-lookups';
import { onceKey } from './work-projection';
import type { WorkState } from './work-state';

export function recordedLookups(state: WorkState, work: OpenWork): WorkLookups {
  return {
    nextNonce: (chainId, keyAddress) => Promise.resolve(work.nextNonce(chainId, keyAddress)),
    reverts: (intentIds) => state.reverts(intentIds),
    claimedByOther: (intent) => state.claimedByOther(onceKeyOf(intent), intent.intentId),
    cancelRequests: (chainId) => state.cancelRequests(chainId),
    spend: (chainId, butKeyAddress, sinceNs) => state.spend(chainId, butKeyAddress, sinceNs),
  };
}

/** A collect and a transfer of the same authorization spend the same nonce of the token: they share a key. */
function onceKeyOf({ intentId, chainId, call }: Intent): string {
  switch (call.kind) {
    case 'collect':
    case 'transfer':
      return onceKey(chainId, call.from, call.nonce);
    case 'permit2Transfer':
      return onceKey(chainId, `permit2 ${call.owner}`, call.nonce.toString());
    case 'userOperation':
      return onceKey(chainId, 'user-operation', call.userOperationHash);
    case 'topUp':
      return onceKey(chainId, 'top-up', intentId);
    case 'settle':
      return onceKey(chainId, 'batch', call.batchKey);
    case 'refund':
      return onceKey(chainId, 'refund', call.refundKey);
  }
}

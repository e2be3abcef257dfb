import { decodePaymasterData } from '@settlement/chain/sponsor-paymaster';
import { unreachable } from '@settlement/kernel/unreachable';
import type { IntentCall } from './intent';

/** Far beyond any clock. Unix seconds. */
const NEVER = 2n ** 62n;

/** Unix second from which on what was signed is worth nothing any more. */
export function endOf(call: IntentCall): bigint {
  switch (call.kind) {
    case 'collect':
    case 'transfer':
      return call.validBefore;
    case 'permit2Transfer':
      // Inclusive, unlike EIP-3009's.
      return call.deadline + 1n;
    case 'userOperation': {
      // Inclusive: the entry point takes it up to this second. Other paymasters' data says nothing that could be read.
      const sponsored = decodePaymasterData(call.operation.paymasterData);
      return sponsored === undefined ? NEVER : sponsored.terms.validUntil + 1n;
    }
    case 'settle':
    case 'refund':
    case 'topUp':
      return NEVER;
    default:
      return unreachable(call);
  }
}

/** First Unix second of a block that takes it. */
export function beginningOf(call: IntentCall): bigint {
  switch (call.kind) {
    case 'collect':
    case 'transfer':
      return call.validAfter + 1n;
    case 'permit2Transfer':
      return call.validAfter;
    case 'settle':
    case 'refund':
    case 'userOperation':
    case 'topUp':
      return 0n;
    default:
      return unreachable(call);
  }
}

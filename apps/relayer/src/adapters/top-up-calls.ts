import type { HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { TopUpCall } from '../intent/intent';
import type { KindCalls } from '../ports/contract-calls';
import { EXECUTED } from './intent-reason';

/** A plain transfer of native currency: nothing is called, nothing is logged, and mined with success is paid. */
export const topUpCalls: KindCalls<TopUpCall> = {
  encode(calls) {
    const [call] = calls;
    if (call === undefined || calls.length !== 1) throw new InvariantViolated('MIXED_TRANSACTION', 'a top-up stands alone', { calls: calls.length });
    return { to: call.to, data: '0x' as HexBytes, valueWei: call.amountWei };
  },
  results: (calls) => calls.map(() => EXECUTED),
  revertOf: () => ({ blame: 'call', reason: IntentReason.INTENT_REASON_REVERTED, name: 'the key takes no money' }),
  traceOf: () => undefined,
  earlierResult: () => undefined,
};

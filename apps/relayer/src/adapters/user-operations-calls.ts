import { decodeFailedOp, USER_OPERATION_TOPIC, userOperationLogs, type UserOperationLog } from '@settlement/chain/entry-point-logs';
import { encodeHandleOps } from '@settlement/chain/user-operation';
import { InvariantViolated } from '@settlement/kernel/errors';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { UserOperationCall } from '../intent/intent';
import type { KindCalls } from '../ports/contract-calls';
import type { ItemResult } from '../transaction/outcome.policy';

/**
 * ERC-4337's codes that time or an earlier operation of the sender, which may be in flight, can cure: the account is not there
 * yet, it is not this nonce's turn, or the validity has not begun.
 */
const MAY_PASS = /^AA(?:20|25|22 expired or not due|32 paymaster expired or not due)/;

function resultOf(log: UserOperationLog): ItemResult {
  const costWei = log.actualGasCostWei;
  return log.success
    ? { executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, costWei }
    : { executed: false, reason: IntentReason.INTENT_REASON_OPERATION_REVERTED, costWei };
}

/** `EntryPoint.handleOps`; the key that pays for the transaction is the one that the operations reimburse. */
export const userOperationsCalls: KindCalls<UserOperationCall> = {
  encode(calls, { keyAddress }) {
    const [first] = calls;
    if (first === undefined || calls.some((call) => call.entryPoint !== first.entryPoint)) {
      throw new InvariantViolated('MIXED_TRANSACTION', 'one bundle holds operations of one entry point', { entryPoints: calls.map((call) => call.entryPoint) });
    }
    return { to: first.entryPoint, data: encodeHandleOps(calls.map((call) => call.operation), keyAddress), valueWei: 0n };
  },

  results(calls, logs) {
    return calls.map(({ entryPoint, userOperationHash }) => {
      const log = userOperationLogs(entryPoint, logs).find((it) => it.userOperationHash === userOperationHash);
      if (log === undefined) throw new InvariantViolated('OPERATION_UNPROVED', 'a bundle was mined without a log of one of its operations', { userOperationHash });
      return resultOf(log);
    });
  },

  revertOf(data) {
    const failed = decodeFailedOp(data);
    if (failed === undefined) return { blame: 'call', reason: IntentReason.INTENT_REASON_REVERTED, name: 'unknown' };
    const blame = MAY_PASS.test(failed.reason) ? 'later' : 'call';
    return { blame, reason: IntentReason.INTENT_REASON_OPERATION_REJECTED, name: `FailedOp(${failed.index}): ${failed.reason}` };
  },

  traceOf: ({ entryPoint, userOperationHash }) => ({ address: entryPoint, topics: [USER_OPERATION_TOPIC, userOperationHash] }),

  earlierResult({ entryPoint, userOperationHash }, logs) {
    const log = userOperationLogs(entryPoint, logs).find((it) => it.userOperationHash === userOperationHash);
    return log === undefined ? undefined : resultOf(log);
  },
};

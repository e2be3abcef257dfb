import { addressWord, uintHex } from '@settlement/chain/hex';
import { decodePermit2Transfers, encodePermit2Transfers, PERMIT2_TRANSFERRED_TOPIC } from '@settlement/chain/transfers-codec';
import type { EvmAddress } from '@settlement/kernel/address';
import type { Permit2TransferCall } from '../intent/intent';
import type { KindCalls } from '../ports/contract-calls';
import { EXECUTED, resultOf } from './intent-reason';
import { oneToken, transfersRevert } from './transfers-calls';

/**
 * `Transfers.permit2` by libs/chain's codec. Permit2 itself logs nothing that names a payment, so what a stranger executes
 * leaves no trace by which it could be told from an equal payment: such an item fails as used, and only our own log proves it.
 */
export function permit2Calls(transfers: EvmAddress): KindCalls<Permit2TransferCall> {
  return {
    encode: (calls, { epoch }) => ({ to: transfers, data: encodePermit2Transfers(oneToken(calls), epoch, calls), valueWei: 0n }),
    results: (calls, logs) => decodePermit2Transfers(calls, transfers, logs).map(resultOf),
    revertOf: transfersRevert,
    traceOf: (call) => ({ address: transfers, topics: [PERMIT2_TRANSFERRED_TOPIC, `0x${addressWord(call.owner)}`, `0x${uintHex(call.nonce, 32)}`] }),
    earlierResult(call, logs) {
      const log = logs.find((it) => it.address.toLowerCase() === transfers && it.topics[0] === PERMIT2_TRANSFERRED_TOPIC && it.topics[1] === `0x${addressWord(call.owner)}` && it.topics[2] === `0x${uintHex(call.nonce, 32)}`);
      const same = log?.data === `0x${addressWord(call.token)}${addressWord(call.to)}${uintHex(call.amount, 32)}`;
      return same ? EXECUTED : undefined;
    },
  };
}

import { TOKEN_TRANSFER_TOPIC } from '@settlement/chain/contract-codec';
import { addressWord, uintHex } from '@settlement/chain/hex';
import { decodePermit2Transfers, encodePermit2Transfers, PERMIT2_TRANSFERRED_TOPIC, settlesPermit } from '@settlement/chain/transfers-codec';
import type { EvmAddress } from '@settlement/kernel/address';
import type { Permit2TransferCall } from '../intent/intent';
import type { KindCalls } from '../ports/contract-calls';
import { EXECUTED, resultOf } from './intent-reason';
import { oneToken, transfersRevert } from './transfers-calls';

/**
 * `Transfers.permit2` by libs/chain's codec.
 *
 * Permit2 logs nothing that names a payment: of what a stranger executed only the token's Transfer is seen, which an equal
 * payment leaves as well. What the transaction called tells them apart, when it called the proxy itself: the proxy reverts
 * unless this very permit was spent. Of a permit that went through some other contract nothing is proved, and the item stays
 * "used". The log of our own contract proves it, whoever of our relayers sent it.
 */
export function permit2Calls(transfers: EvmAddress, proxy: EvmAddress | undefined): KindCalls<Permit2TransferCall> {
  return {
    encode: (calls, { epoch }) => ({ to: transfers, data: encodePermit2Transfers(oneToken(calls), epoch, calls), valueWei: 0n }),
    results: (calls, logs) => decodePermit2Transfers(calls, transfers, logs).map(resultOf),
    revertOf: transfersRevert,
    traceOf: (call) => ({ address: call.token, topics: [TOKEN_TRANSFER_TOPIC, `0x${addressWord(call.owner)}`, `0x${addressWord(call.to)}`] }),
    earlierResult(call, logs, sent) {
      const moved = logs.some(
        (it) =>
          it.address.toLowerCase() === call.token &&
          it.topics[0] === TOKEN_TRANSFER_TOPIC &&
          it.topics[1] === `0x${addressWord(call.owner)}` &&
          it.topics[2] === `0x${addressWord(call.to)}` &&
          BigInt(it.data) === call.amount,
      );
      if (!moved) return undefined;
      const own = logs.find((it) => it.address.toLowerCase() === transfers && it.topics[0] === PERMIT2_TRANSFERRED_TOPIC && it.topics[1] === `0x${addressWord(call.owner)}` && it.topics[2] === `0x${uintHex(call.nonce, 32)}`);
      if (own?.data === `0x${addressWord(call.token)}${addressWord(call.to)}${uintHex(call.amount, 32)}`) return EXECUTED;
      return proxy !== undefined && sent?.to === proxy && settlesPermit(sent.data, call, call.token) ? EXECUTED : undefined;
    },
  };
}

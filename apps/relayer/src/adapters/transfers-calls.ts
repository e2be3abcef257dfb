import type { Eip3009Message } from '@settlement/chain/eip3009';
import { AUTHORIZATION_USED_TOPIC } from '@settlement/chain/contract-codec';
import { addressWord } from '@settlement/chain/hex';
import { decodeTransfers, decodeTransfersRevert, encodeTransfers, paidBy, type TransferItem } from '@settlement/chain/transfers-codec';
import type { EvmAddress } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { TransferCall } from '../intent/intent';
import type { KindCalls, RevertMeaning } from '../ports/contract-calls';
import { EXECUTED, resultOf } from './intent-reason';

/** Reverts that say nothing about the intents: nobody's call goes through until an operator acts. */
const CONTRACT_WIDE = new Set(['TransfersAreFrozen', 'StaleEpoch', 'NotAContract', 'AccessControlUnauthorizedAccount']);

export function transfersRevert(data: string): RevertMeaning {
  const { name, reason } = decodeTransfersRevert(data);
  return { blame: CONTRACT_WIDE.has(name) ? 'contract' : 'call', reason: IntentReason[reason], name };
}

/** The one token of a transaction's calls. */
export function oneToken(calls: readonly { readonly token: EvmAddress }[]): EvmAddress {
  const [first] = calls;
  if (first === undefined || calls.some((call) => call.token !== first.token)) {
    throw new InvariantViolated('MIXED_TRANSACTION', 'one transaction holds calls of one kind and one token', { tokens: calls.map((call) => call.token) });
  }
  return first.token;
}

const authorizationOf = ({ from, to, value, validAfter, validBefore, nonce }: TransferCall): Eip3009Message => ({ from, to, value, validAfter, validBefore, nonce });

/** `Transfers.transfer` by libs/chain's codec. */
export function transfersCalls(transfers: EvmAddress): KindCalls<TransferCall> {
  const item = (call: TransferCall): TransferItem => ({
    authorization: authorizationOf(call),
    signature: call.signature,
    ...(call.deployment === undefined ? {} : { deployment: call.deployment }),
  });
  return {
    encode: (calls, { epoch }) => ({ to: transfers, data: encodeTransfers(oneToken(calls), epoch, calls.map(item)), valueWei: 0n }),
    results: (calls, logs) => decodeTransfers(calls.map(item), { transfers, token: oneToken(calls) }, logs).map(resultOf),
    revertOf: transfersRevert,
    // The token's own log: it is there whoever executed the authorization, a stranger included.
    traceOf: (call) => ({ address: call.token, topics: [AUTHORIZATION_USED_TOPIC, `0x${addressWord(call.from)}`, call.nonce] }),
    earlierResult: (call, logs) => (paidBy(authorizationOf(call), call.token, logs) ? EXECUTED : undefined),
  };
}

import { addressWord } from '@settlement/chain/hex';
import {
  creditsOf,
  decodeCollect,
  decodeRefund,
  decodeSettle,
  decodeVaultRevert,
  encodeCollect,
  encodeRefund,
  encodeSettle,
  type CollectItem,
} from '@settlement/chain/vault-codec';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { unreachable } from '@settlement/kernel/unreachable';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { id } from 'ethers';
import type { CollectCall, RefundCall, SettleCall } from '../intent/intent';
import type { ReceiptLog } from '../ports/chain-reader';
import type { KindCalls } from '../ports/contract-calls';
import type { ItemResult } from '../transaction/outcome.policy';
import { EXECUTED, resultOf } from './intent-reason';

const AUTHORIZATION_USED = id('AuthorizationUsed(address,bytes32)');
const TRANSFER = id('Transfer(address,address,uint256)');
const SETTLED = id('Settled(bytes32,address,bytes)');
const REFUNDED = id('Refunded(bytes32,bytes32,address,address,uint256)');

/** Reverts that say nothing about the intents: nobody's call goes through until an operator acts. */
const VAULT_WIDE = new Set(['VaultIsFrozen', 'StaleEpoch', 'TokenNotAccepted', 'TokenBalanceUnreadable', 'AccessControlUnauthorizedAccount']);

export type VaultCall = CollectCall | SettleCall | RefundCall;

type Uniform =
  | { readonly kind: 'collect'; readonly calls: readonly CollectCall[]; readonly token: EvmAddress }
  | { readonly kind: 'refund'; readonly calls: readonly RefundCall[]; readonly token: EvmAddress }
  | { readonly kind: 'settle'; readonly call: SettleCall; readonly token: EvmAddress };

/** `PaymentVault` by libs/chain's codec. */
export function paymentVaultCalls(vault: EvmAddress): KindCalls<VaultCall> {
  const item = (call: CollectCall): CollectItem => ({
    merchantKey: call.merchantKey,
    authorization: { from: call.from, to: vault, value: call.value, validAfter: call.validAfter, validBefore: call.validBefore, nonce: call.nonce },
    signature: call.signature,
  });
  return {
    encode(calls, { epoch }) {
      const all = uniform(calls);
      const call = (data: HexBytes) => ({ to: vault, data, valueWei: 0n });
      switch (all.kind) {
        case 'collect':
          return call(encodeCollect(all.token, epoch, all.calls.map(item)));
        case 'refund':
          return call(encodeRefund(all.token, epoch, all.calls));
        case 'settle':
          return call(encodeSettle(all.token, epoch, all.call.batchKey, all.call.payouts));
        default:
          return unreachable(all);
      }
    },

    results(calls, logs) {
      const all = uniform(calls);
      switch (all.kind) {
        case 'collect':
          return decodeCollect(all.calls.map(item), { vault, token: all.token }, logs).map(resultOf);
        case 'refund':
          return decodeRefund(all.calls, vault, logs).map(resultOf);
        case 'settle':
          return [settled(all.call, vault, logs)];
        default:
          return unreachable(all);
      }
    },

    revertOf(data) {
      const { name, reason } = decodeVaultRevert(data);
      const blame = VAULT_WIDE.has(name) ? 'contract' : name === 'BatchAlreadySettled' ? 'done' : 'call';
      return { blame, reason: IntentReason[reason], name };
    },

    traceOf(call) {
      switch (call.kind) {
        case 'collect':
          return { address: call.token, topics: [AUTHORIZATION_USED, `0x${addressWord(call.from)}`, call.nonce] };
        case 'refund':
          return { address: vault, topics: [REFUNDED, call.refundKey] };
        case 'settle':
          return { address: vault, topics: [SETTLED, call.batchKey] };
        default:
          return unreachable(call);
      }
    },

    earlierResult(call, logs) {
      switch (call.kind) {
        case 'collect': {
          const took = logs.some(
            (log) =>
              log.address === call.token &&
              log.topics[0] === TRANSFER &&
              log.topics[1] === `0x${addressWord(call.from)}` &&
              log.topics[2] === `0x${addressWord(vault)}` &&
              BigInt(log.data) === call.value,
          );
          const credited = creditsOf({ vault, token: call.token }, logs).some((run) => run.merchantKey === call.merchantKey);
          return took && credited ? EXECUTED : undefined;
        }
        case 'refund': {
          const log = logs.find((it) => it.address === vault && it.topics[0] === REFUNDED && it.topics[1] === call.refundKey);
          const same = log?.topics[2] === call.merchantKey && log.data.slice(2, 66) === addressWord(call.to) && BigInt(`0x${log.data.slice(66, 130)}`) === call.amount;
          return same ? EXECUTED : undefined;
        }
        case 'settle':
          return logs.some((it) => it.address === vault && it.topics[0] === SETTLED && it.topics[1] === call.batchKey) ? settled(call, vault, logs) : undefined;
        default:
          return unreachable(call);
      }
    },
  };
}

function settled(call: SettleCall, vault: EvmAddress, logs: readonly ReceiptLog[]): ItemResult {
  const payouts = decodeSettle(call.payouts, call.batchKey, vault, logs).map((outcome) => ({ paid: outcome.executed, reason: resultOf(outcome).reason }));
  return { ...EXECUTED, payouts };
}

function uniform(calls: readonly VaultCall[]): Uniform {
  const [first] = calls;
  if (first?.kind === 'settle' && calls.length === 1) return { kind: 'settle', call: first, token: first.token };
  const collects = calls.flatMap((call) => (call.kind === 'collect' && call.token === first?.token ? [call] : []));
  if (first !== undefined && collects.length === calls.length) return { kind: 'collect', calls: collects, token: first.token };
  const refunds = calls.flatMap((call) => (call.kind === 'refund' && call.token === first?.token ? [call] : []));
  if (first !== undefined && refunds.length === calls.length) return { kind: 'refund', calls: refunds, token: first.token };
  throw new InvariantViolated('MIXED_TRANSACTION', 'one transaction holds calls of one kind and one token', { kinds: calls.map((call) => call.kind) });
}

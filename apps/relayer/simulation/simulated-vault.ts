import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { IntentCall } from '../src/intent/intent';
import type { ReceiptLog } from '../src/ports/chain-reader';
import type { ContractCalls } from '../src/ports/contract-calls';
import type { ItemResult } from '../src/transaction/outcome.policy';
import type { ItemOutcome, ItemResult as ChainResult } from './simulated-chain';

export const VAULT = '0x00000000000000000000000000000000000000aa' as EvmAddress;
const ITEM = 'item';

const REASONS: Readonly<Record<Exclude<ChainResult, 'executed'>, IntentReason>> = {
  used: IntentReason.INTENT_REASON_AUTHORIZATION_USED,
  expired: IntentReason.INTENT_REASON_AUTHORIZATION_EXPIRED,
  'no-funds': IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS,
};

/** Call data is the list of authorization nonces: all that the simulated vault needs to know. */
export function authorizationsIn(data: string): readonly string[] {
  const out: string[] = [];
  for (let at = 2; at + 64 <= data.length; at += 64) out.push(`0x${data.slice(at, at + 64)}`);
  return out;
}

export function logsOf(outcomes: readonly ItemOutcome[]): readonly ReceiptLog[] {
  return outcomes.map(({ authorization, result }) => ({ address: VAULT, topics: [ITEM, authorization], data: result }));
}

/** The vault's functions and logs in the simulation's own, trivial encoding. */
export const simulatedVault: ContractCalls = {
  encode: (calls) => ({ to: VAULT, data: `0x${calls.map((call) => keyOf(call).slice(2)).join('')}` as HexBytes, valueWei: 0n }),
  results: (calls, logs) => calls.map((call) => resultIn(call, logs) ?? { executed: false, reason: IntentReason.INTENT_REASON_UNSPECIFIED }),
  revertOf: () => ({ blame: 'contract', reason: IntentReason.INTENT_REASON_VAULT_FROZEN, name: 'VaultIsFrozen' }),
  traceOf: (call) => ({ address: VAULT, topics: [ITEM, keyOf(call)] }),
  earlierResult: (call, logs) => {
    const result = resultIn(call, logs);
    return result?.executed === true ? result : undefined;
  },
};

function keyOf(call: IntentCall): string {
  if (call.kind !== 'collect') throw new RangeError('the simulation only collects');
  return call.nonce;
}

function resultIn(call: IntentCall, logs: readonly ReceiptLog[]): ItemResult | undefined {
  const log = logs.find((it) => it.topics[1] === keyOf(call));
  if (log === undefined) return undefined;
  if (log.data === 'executed') return { executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED };
  return { executed: false, reason: REASONS[log.data as keyof typeof REASONS] };
}

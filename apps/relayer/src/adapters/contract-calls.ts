import type { EvmAddress } from '@settlement/kernel/address';
import { InvariantViolated } from '@settlement/kernel/errors';
import { unreachable } from '@settlement/kernel/unreachable';
import type { IntentCall } from '../intent/intent';
import type { ReceiptLog, SentCall } from '../ports/chain-reader';
import type { CallSender, ContractCall, ContractCalls, KindCalls, RevertMeaning } from '../ports/contract-calls';
import type { ItemResult } from '../transaction/outcome.policy';
import { paymentVaultCalls, type VaultCall } from './payment-vault-calls';
import { permit2Calls } from './permit2-calls';
import { topUpCalls } from './top-up-calls';
import { transfersCalls } from './transfers-calls';
import { userOperationsCalls } from './user-operations-calls';

/** One kind's calls with that kind's codec, without the kind. */
interface Bound {
  encode(sender: CallSender): ContractCall;
  results(logs: readonly ReceiptLog[]): readonly ItemResult[];
  revertOf(data: string): RevertMeaning;
  trace(): ReturnType<ContractCalls['traceOf']>;
  earlier(logs: readonly ReceiptLog[], sent: SentCall | undefined): ItemResult | undefined;
}

function bind<Call extends IntentCall>(codec: KindCalls<Call>, first: Call, calls: readonly Call[]): Bound {
  return {
    encode: (sender) => codec.encode(calls, sender),
    results: (logs) => codec.results(calls, logs),
    revertOf: (data) => codec.revertOf(data),
    trace: () => codec.traceOf(first),
    earlier: (logs, sent) => codec.earlierResult(first, logs, sent),
  };
}

export interface CallTargets {
  readonly vaultAddress: EvmAddress;
  readonly transfersAddress?: EvmAddress | undefined;
  readonly permit2ProxyAddress?: EvmAddress | undefined;
}

/** Chooses the codec by kind. A chain without `Transfers` accepts no intent that would need it. */
export function contractCalls({ vaultAddress, transfersAddress, permit2ProxyAddress }: CallTargets): ContractCalls {
  const vault = paymentVaultCalls(vaultAddress);
  const transfers = transfersAddress === undefined ? undefined : transfersCalls(transfersAddress);
  const permit2 = transfersAddress === undefined ? undefined : permit2Calls(transfersAddress, permit2ProxyAddress);

  function boundOf(calls: readonly IntentCall[]): Bound {
    const [first] = calls;
    switch (first?.kind) {
      case undefined:
        throw new InvariantViolated('EMPTY_TRANSACTION', 'a transaction holds at least one call', {});
      case 'collect':
      case 'settle':
      case 'refund':
        return bind<VaultCall>(vault, first, allOf(calls, (call): call is VaultCall => call.kind === first.kind));
      case 'transfer':
        return bind(transfers ?? notOffered(first.kind), first, allOf(calls, (call) => call.kind === 'transfer'));
      case 'permit2Transfer':
        return bind(permit2 ?? notOffered(first.kind), first, allOf(calls, (call) => call.kind === 'permit2Transfer'));
      case 'userOperation':
        return bind(userOperationsCalls, first, allOf(calls, (call) => call.kind === 'userOperation'));
      case 'topUp':
        return bind(topUpCalls, first, allOf(calls, (call) => call.kind === 'topUp'));
      default:
        return unreachable(first);
    }
  }

  return {
    encode: (calls, sender) => boundOf(calls).encode(sender),
    results: (calls, logs) => boundOf(calls).results(logs),
    revertOf: (calls, data) => boundOf(calls).revertOf(data),
    traceOf: (call) => boundOf([call]).trace(),
    earlierResult: (call, logs, sent) => boundOf([call]).earlier(logs, sent),
  };
}

function allOf<Call extends IntentCall>(calls: readonly IntentCall[], of: (call: IntentCall) => call is Call): readonly Call[] {
  const kept = calls.filter(of);
  if (kept.length !== calls.length) {
    throw new InvariantViolated('MIXED_TRANSACTION', 'one transaction holds calls of one kind', { kinds: calls.map((call) => call.kind) });
  }
  return kept;
}

function notOffered(kind: IntentCall['kind']): never {
  throw new InvariantViolated('KIND_NOT_OFFERED', 'an intent needs a contract that its chain is not configured with any more', { kind });
}

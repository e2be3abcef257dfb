import type { EvmAddress } from '@settlement/kernel/address';
import type { IntentCall } from '../intent/intent';
import type { ContractCall } from '../ports/contract-calls';

/** The contracts of a chain, as configured. */
export interface ChainContracts {
  readonly vaultAddress: EvmAddress;
  readonly transfersAddress?: EvmAddress | undefined;
  readonly permit2ProxyAddress?: EvmAddress | undefined;
  readonly entryPoints: readonly EvmAddress[];
}

/** Which functions of which contracts a transaction of one kind may call; a top-up calls none. */
export type AllowList = Readonly<Record<IntentCall['kind'], readonly { readonly to: EvmAddress; readonly selector: string }[]>>;

/**
 * Selectors of the functions that this relayer ever calls: the first four bytes of keccak-256 of the signature. The spec
 * derives them again.
 */
export const SELECTORS = {
  /** PaymentVault.collect(address,uint64,bytes) */
  collect: '0xe2ad4c2d',
  /** PaymentVault.settle(address,uint64,bytes32,bytes) */
  settle: '0x0cc8485a',
  /** PaymentVault.refund(address,uint64,bytes) */
  refund: '0xf5c199f0',
  /** Transfers.transfer(address,uint64,bytes) */
  transfer: '0xd103038f',
  /** Transfers.permit2(address,uint64,bytes) */
  permit2: '0x487ec45a',
  /** EntryPoint.handleOps of v0.7 and v0.8: packed operations */
  handleOps: '0x765e827f',
} as const;

export function allowListOf({ vaultAddress, transfersAddress, entryPoints }: ChainContracts): AllowList {
  const at = (to: EvmAddress | undefined, selector: string): AllowList[IntentCall['kind']] => (to === undefined ? [] : [{ to, selector }]);
  return {
    collect: at(vaultAddress, SELECTORS.collect),
    settle: at(vaultAddress, SELECTORS.settle),
    refund: at(vaultAddress, SELECTORS.refund),
    transfer: at(transfersAddress, SELECTORS.transfer),
    // The proxy is called by Transfers, never by the key itself.
    permit2Transfer: at(transfersAddress, SELECTORS.permit2),
    userOperation: entryPoints.flatMap((to) => at(to, SELECTORS.handleOps)),
    topUp: [],
  };
}

/** Why a call must not be made, or `undefined`. Native currency goes with nothing but a top-up, which in turn calls nothing. Pure. */
export function notAllowed(kind: IntentCall['kind'], { to, data, valueWei }: ContractCall, list: AllowList): string | undefined {
  if (kind === 'topUp') return data.length === '0x'.length ? undefined : `a top-up calls ${data.slice(0, 10)} of ${to}`;
  if (valueWei !== 0n) return `a ${kind} carries ${valueWei} wei`;
  const selector = data.slice(0, 10).toLowerCase();
  if (list[kind].some((it) => it.to === to.toLowerCase() && it.selector === selector)) return undefined;
  return `${selector} of ${to} is on no allow-list for ${kind}`;
}

import type { ChainConfig } from '@settlement/config/chain-config';
import { allowListOf, type ChainContracts } from './allow-list.policy';
import type { ExecutionRules } from './lane-parts';

/** What transactions on this chain may call and move: its configured contracts, and nothing else. */
export function executionRulesOf({ vaultAddress, transfersAddress, permit2ProxyAddress, entryPoints = [], blockTimeMs }: ChainConfig): ExecutionRules {
  const contracts: ChainContracts = { vaultAddress, transfersAddress, permit2ProxyAddress, entryPoints: entryPoints.map(({ address }) => address) };
  return { contracts, allowList: allowListOf(contracts), blockTimeMs };
}

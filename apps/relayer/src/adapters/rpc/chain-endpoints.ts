import { jsonRpc } from '@settlement/chain/rpc';
import type { ChainConfig } from '@settlement/config/chain-config';
import { eip155Number } from '@settlement/kernel/address';
import type { Clock } from '@settlement/kernel/time';
import type { HealthState } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import type { Broadcaster } from '../../ports/broadcaster';
import type { ChainReader } from '../../ports/chain-reader';
import type { EndpointMetrics } from '../../ports/endpoint-metrics';
import { EndpointSet } from './endpoint-set';
import { JsonRpcChain } from './json-rpc-chain';

const PRIVATE_BLOCKS = 3;
/** A minute on mainnet; anything closer is the network's ordinary spread. */
const LAG_BLOCKS_MAX = 5;

export interface ChainEndpoints {
  readonly chain: ChainReader & Broadcaster;
  health(): HealthState;
}

/** One endpoint is believed as it is; several, or a private one beside it, by quorum. */
export function chainEndpoints(config: ChainConfig, parts: { readonly timeoutMs: number; readonly clock: Clock; readonly logger: Logger; readonly metrics: EndpointMetrics }): ChainEndpoints {
  const { rpcUrls, privateRpcUrls = [] } = config;
  if (rpcUrls.length === 1 && privateRpcUrls.length === 0) {
    return { chain: new JsonRpcChain(jsonRpc(rpcUrls[0] ?? '', { timeoutMs: parts.timeoutMs })), health: () => ({ ok: true }) };
  }
  const set = new EndpointSet({
    ...parts,
    caip2: config.chainId,
    chainId: eip155Number(config.chainId),
    rpcUrls,
    privateRpcUrls,
    quorum: config.rpcQuorum ?? Math.floor(rpcUrls.length / 2) + 1,
    privateBlocks: BigInt(config.privateRpcBlocks ?? PRIVATE_BLOCKS),
    lagBlocksMax: BigInt(config.rpcLagBlocksMax ?? LAG_BLOCKS_MAX),
  });
  return { chain: set, health: () => set.health() };
}

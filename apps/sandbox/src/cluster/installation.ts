/** Names, ports and pace of an installation on a local cluster, as the charts' local values have them. */
export const namespaces = { settlement: 'settlement', chain: 'settlement-chain' } as const;
export const releases = { settlement: 'settlement', chain: 'local-chain' } as const;
export const nodePorts = { gateway: 30080, paymaster: 30081, bundler: 30082, postgres: 30432, rpc: 30545, deployment: 30546 } as const;
export const sponsorId = 'spo_sandbox';
/** From inside the cluster. */
export const chainRpcUrl = `http://${releases.chain}.${namespaces.chain}:8545`;
export const chainPace = { finalityDepth: 2, blockTimeMs: 1_000 } as const;
/** Keys that the chain's contracts know as relayers; one lane each. */
export const relayerLanes = 2;

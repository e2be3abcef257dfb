import type { LocalDeployment } from '@settlement/local-stack/deploy';

/** What `CHAINS` says of a sandbox's chain: addresses and facts, no functions, as a file may bring them. */
export type DeployedContracts = Pick<LocalDeployment, 'chainId' | 'vault' | 'transfers' | 'permit2Proxy' | 'entryPoints' | 'sponsorPaymasters' | 'walletFactory' | 'usdc'> & {
  readonly usdcDomain: Pick<LocalDeployment['usdcDomain'], 'name' | 'version'>;
};

/** One entry of the variable `CHAINS`, as libs/config/src/chain-config.ts reads it. */
export function sandboxChain(deployment: DeployedContracts, rpcUrl: string, pace: { readonly finalityDepth: number; readonly blockTimeMs: number }) {
  return {
    chainId: `eip155:${deployment.chainId}`,
    mode: 'test',
    rpcUrls: [rpcUrl],
    vaultAddress: deployment.vault,
    transfersAddress: deployment.transfers,
    permit2ProxyAddress: deployment.permit2Proxy,
    entryPoints: deployment.entryPoints.map(({ address, version }) => ({ address, version })),
    sponsorPaymasters: deployment.sponsorPaymasters.map(({ entryPoint, address }) => ({ entryPoint, address })),
    walletFactories: [deployment.walletFactory],
    finalityDepth: pace.finalityDepth,
    blockTimeMs: pace.blockTimeMs,
    tokens: [{ symbol: 'USDC', address: deployment.usdc, decimals: 6, eip712Name: deployment.usdcDomain.name, eip712Version: deployment.usdcDomain.version }],
  };
}

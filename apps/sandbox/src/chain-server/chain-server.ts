import { existsSync, mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { dirname } from 'node:path';
import { jsonRpc } from '@settlement/chain/rpc';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { DEV_SPONSOR_SIGNER } from '@settlement/local-stack/deploy-accounts';
import { sandboxChain, type DeployedContracts } from '../sandbox-chain';
import { governance } from '../sandbox-keys';
import type { ChainServerConfig } from './chain-server-config';

/** What an installation of the services has to know of the chain: `GET /deployment.json`. */
export interface DeploymentDocument extends DeployedContracts {
  /** False when a kept chain was found and nothing was deployed. */
  readonly fresh: boolean;
  /** The value of the services' variable CHAINS. */
  readonly chains: readonly unknown[];
  readonly relayers: readonly string[];
  readonly sponsorSigner: string;
}

export interface ChainServer {
  readonly httpUrl: string;
  readonly document: DeploymentDocument;
  stop(): Promise<void>;
}

/** A million units of native currency: a local relayer never runs dry. */
const GAS_MONEY_WEI = 10n ** 24n;
const ANSWER_TIMEOUT_MS = 2_000;

function documentOf(config: ChainServerConfig, deployment: LocalDeployment): DeploymentDocument {
  const { chainId, vault, usdc, usdcDomain, transfers, permit2Proxy, entryPoints, sponsorPaymasters, walletFactory, fresh } = deployment;
  return {
    ...{ chainId, vault, usdc, transfers, permit2Proxy, entryPoints, sponsorPaymasters, walletFactory, fresh },
    usdcDomain: { name: usdcDomain.name, version: usdcDomain.version },
    chains: [sandboxChain(deployment, config.publicRpcUrl, config)],
    relayers: config.relayers,
    sponsorSigner: config.sponsorSigner ?? DEV_SPONSOR_SIGNER,
  };
}

/**
 * A chain for a local cluster: anvil, the contracts, gas money for the relayers, and a document that says where everything is.
 * A kept state is found again and nothing is deployed twice. Throws when that state belongs to other relayers or is half deployed.
 */
export async function startChainServer(config: ChainServerConfig, log: (text: string) => void): Promise<ChainServer> {
  let document: DeploymentDocument | undefined;
  const rpcUrl = `http://127.0.0.1:${config.rpcPort}`;
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(`${JSON.stringify(body)}\n`);
    };
    if (request.method !== 'GET') answer(405, { error: 'only GET' });
    else if (request.url === '/deployment.json') answer(document === undefined ? 503 : 200, document ?? { error: 'the contracts are being deployed' });
    else if (request.url === '/health') {
      if (document === undefined) answer(503, { status: 'starting' });
      else void blockNumber(rpcUrl).then(
        (block) => { answer(200, { status: 'ok', block }); },
        (error: unknown) => { answer(503, { status: 'the node does not answer', reason: String(error) }); },
      );
    } else answer(404, { error: 'GET /deployment.json or /health' });
  });
  await listening(server, config);
  let anvil: Anvil | undefined;
  const stop = async (): Promise<void> => {
    await anvil?.stop();
    server.closeAllConnections();
    await new Promise<void>((resolve) => { server.close(() => { resolve(); }); });
  };
  try {
    mkdirSync(dirname(config.statePath), { recursive: true });
    log(existsSync(config.statePath) ? `loading the chain from ${config.statePath}` : `a new chain, kept in ${config.statePath}`);
    const { blockTimeMs, statePath, host } = config;
    anvil = await startAnvil({ blockTimeMs, statePath, host, chainId: config.evmChainId, port: config.rpcPort });
    const deployment = await deployLocal(rpcUrl, {
      ...governance,
      relayers: config.relayers,
      ...(config.sponsorSigner === undefined ? {} : { sponsorSigner: config.sponsorSigner }),
    });
    const rpc = jsonRpc(rpcUrl, { timeoutMs: ANSWER_TIMEOUT_MS });
    for (const relayer of config.relayers) await rpc.call('anvil_setBalance', [relayer, `0x${GAS_MONEY_WEI.toString(16)}`]);
    document = documentOf(config, deployment);
    log(`${document.fresh ? 'contracts deployed' : 'contracts found'}: USDC ${document.usdc}, vault ${document.vault}; ${config.relayers.length} relayers`);
    return { httpUrl: `http://127.0.0.1:${config.httpPort}`, document, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function blockNumber(rpcUrl: string): Promise<number> {
  return Number(await jsonRpc(rpcUrl, { timeoutMs: ANSWER_TIMEOUT_MS }).call('eth_blockNumber', []));
}

async function listening(server: Server, { host, httpPort }: ChainServerConfig): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(httpPort, host, () => { resolve(); });
  });
}

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jsonRpc } from '@settlement/chain/rpc';
import { chainsVariable } from '@settlement/config/chain-config';
import { freePorts } from '@settlement/local-stack/free-port';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseChainServerConfig } from './chain-server-config';
import { startChainServer, type DeploymentDocument } from './chain-server';

const RELAYER = '0x99cfe68f5160636969a970fa559ac8d136cb1481';
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-chain-server-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function serverOn(relayers: string) {
  const [rpcPort, httpPort] = await freePorts(2);
  const config = parseChainServerConfig({
    CHAIN_HOST: '127.0.0.1', CHAIN_RPC_PORT: String(rpcPort), CHAIN_HTTP_PORT: String(httpPort), CHAIN_BLOCK_TIME_MS: '100',
    CHAIN_STATE_FILE: join(folder, 'state', 'chain.json'), CHAIN_RELAYERS: relayers, CHAIN_PUBLIC_RPC_URL: 'http://chain.example:8545',
  });
  return { server: await startChainServer(config, () => undefined), rpc: jsonRpc(`http://127.0.0.1:${rpcPort}`, { timeoutMs: 5_000 }) };
}

it('says where the contracts are, and finds them again on a kept chain instead of deploying twice', async () => {
  const first = await serverOn(RELAYER);
  const document = (await (await fetch(`${first.server.httpUrl}/deployment.json`)).json()) as DeploymentDocument;
  const block = Number(await first.rpc.call('eth_blockNumber', []));
  expect(document).toMatchObject({ fresh: true, chainId: 31_337, relayers: [RELAYER], usdcDomain: { name: 'USD Coin', version: '2' } });
  // The document is what the services read, not something like it.
  expect(chainsVariable.parse(JSON.stringify(document.chains))).toMatchObject([{ chainId: 'eip155:31337', rpcUrls: ['http://chain.example:8545'] }]);
  expect(BigInt(String(await first.rpc.call('eth_getBalance', [RELAYER, 'latest'])))).toBe(10n ** 24n);
  expect(await (await fetch(`${first.server.httpUrl}/health`)).json()).toMatchObject({ status: 'ok' });
  expect((await fetch(`${first.server.httpUrl}/health`, { method: 'POST' })).status).toBe(405);
  await first.server.stop();

  const second = await serverOn(RELAYER);
  expect(second.server.document).toEqual({ ...document, fresh: false });
  expect(Number(await second.rpc.call('eth_blockNumber', []))).toBeGreaterThanOrEqual(block);
  await second.server.stop();

  await expect(serverOn('0x00000000000000000000000000000000000000aa')).rejects.toMatchObject({ code: 'LOCAL_DEPLOYMENT_DIFFERS' });
});

it('names every variable that is wrong', () => {
  expect(() => parseChainServerConfig({ CHAIN_BLOCK_TIME_MS: 'soon', CHAIN_RELAYERS: '0x1' })).toThrow(/CHAIN_RELAYERS: must hold addresses.*CHAIN_BLOCK_TIME_MS: must be a whole number from 50/);
  expect(() => parseChainServerConfig({})).toThrow('CHAIN_RELAYERS: must name the relayers');
});

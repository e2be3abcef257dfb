import { InvalidInput } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { chainsVariable } from './chain-config';
import { parseEnvironment } from './environment';

const schema = z.object({ CHAINS: chainsVariable });
const read = (chains: unknown) => parseEnvironment(schema, { CHAINS: JSON.stringify(chains) }).CHAINS;

const usdc = { symbol: 'USDC', address: '0x5FbDB2315678afecb367f032d93F642f64180aa3', decimals: 6, eip712Name: 'USD Coin', eip712Version: '2' };
const anvil = {
  chainId: 'eip155:31337', mode: 'test', rpcUrls: ['http://127.0.0.1:8545'], vaultAddress: '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512', finalityDepth: 2, blockTimeMs: 1_000, tokens: [usdc],
};

function pathsOf(chains: unknown): string[] {
  try {
    read(chains);
  } catch (error) {
    if (error instanceof InvalidInput) return error.issues.map((issue) => issue.path);
    throw error;
  }
  return [];
}

describe('CHAINS', () => {
  it('gives chains with canonical addresses', () => {
    expect(read([anvil])).toEqual([
      { ...anvil, vaultAddress: '0xe7f1725e7734ce288f8367e1bb143e90bb3f0512', tokens: [{ ...usdc, address: '0x5fbdb2315678afecb367f032d93f642f64180aa3' }] },
    ]);
  });

  it('gives what a chain offers beside the vault', () => {
    const entryPoint = '0x4337084d9e255ff0702461cf8895ce9e3b5ff108';
    const offers = {
      transfersAddress: usdc.address.toLowerCase(),
      permit2ProxyAddress: '0x402085c248eea27d92e8b30b2c58ed07f9e20001',
      entryPoints: [{ address: entryPoint, version: '0.8' }],
      sponsorPaymasters: [{ entryPoint, address: usdc.address.toLowerCase() }],
      walletFactories: [anvil.vaultAddress.toLowerCase()],
    };
    expect(read([{ ...anvil, ...offers }])[0]).toMatchObject(offers);
  });

  it.each([
    ['no chain', [], ['CHAINS']],
    ['no token', [{ ...anvil, tokens: [] }], ['CHAINS.0.tokens']],
    ['no endpoint', [{ ...anvil, rpcUrls: [] }], ['CHAINS.0.rpcUrls']],
    ['a bare chain number', [{ ...anvil, chainId: 31337 }], ['CHAINS.0.chainId']],
    ['an endpoint that is no web address', [{ ...anvil, rpcUrls: ['ipc:///geth'] }], ['CHAINS.0.rpcUrls.0']],
    ['a fraction of a block', [{ ...anvil, finalityDepth: 0.5 }], ['CHAINS.0.finalityDepth']],
    ['an entry point of another version', [{ ...anvil, entryPoints: [{ address: usdc.address, version: '0.6' }] }], ['CHAINS.0.entryPoints.0.version']],
    ['a third mode', [{ ...anvil, mode: 'staging' }], ['CHAINS.0.mode']],
    ['a quorum of more endpoints than there are', [{ ...anvil, rpcQuorum: 2 }], ['CHAINS.0.rpcQuorum']],
    ['a private endpoint that is no web address', [{ ...anvil, privateRpcUrls: ['geth'] }], ['CHAINS.0.privateRpcUrls.0']],
    ['a misspelt field', [{ ...anvil, finalityDept: 2 }], ['CHAINS.0']],
  ])('refuses %s and says where', (_, chains, paths) => {
    expect(pathsOf(chains)).toEqual(paths);
  });

  it('tells what is wrong in every chain and token at once', () => {
    const paths = pathsOf([
      { ...anvil, vaultAddress: '0x12', blockTimeMs: 0 },
      { ...anvil, chainId: 'solana:1', tokens: [{ ...usdc, address: 'USDC', decimals: -1 }, { ...usdc, symbol: 'usd coin' }] },
    ]);
    expect(paths.sort()).toEqual(['CHAINS.0.blockTimeMs', 'CHAINS.0.vaultAddress', 'CHAINS.1.chainId', 'CHAINS.1.tokens.0.address', 'CHAINS.1.tokens.0.decimals', 'CHAINS.1.tokens.1.symbol']);
  });
});

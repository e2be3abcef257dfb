import { describe, expect, it } from 'vitest';
import { networksOf } from './networks';

const chain = (chainId: string, transfers = true) =>
  ({
    chainId, mode: 'test', rpcUrls: ['http://127.0.0.1:1'], vaultAddress: `0x${'f1'.repeat(20)}`, ...(transfers ? { transfersAddress: `0x${'f2'.repeat(20)}` } : {}), finalityDepth: 1, blockTimeMs: 1_000,
    tokens: [{ symbol: 'USDC', address: `0x${'c1'.repeat(20)}`, decimals: 6, eip712Name: 'USD Coin', eip712Version: '2' }],
  }) as never;

describe('networks', () => {
  it('are found by CAIP-2 id in version 2 and by name in version 1', () => {
    const networks = networksOf([chain('eip155:8453'), chain('eip155:31337')], { anvil: 'eip155:31337' });
    expect(networks.find(2, 'eip155:8453')?.v1Names).toEqual(['base']);
    expect(networks.find(1, 'base')?.chainId).toBe('eip155:8453');
    expect(networks.find(1, 'anvil')?.chainId).toBe('eip155:31337');
    expect(networks.find(1, 'eip155:8453')).toBeUndefined();
    expect(networks.find(2, 'base')).toBeUndefined();
  });

  it('are those with somewhere to execute direct transfers', () => {
    expect(networksOf([chain('eip155:8453', false)], {}).chains).toEqual([]);
  });

  it('keep the names that the SDK signs for: an alias never takes one over', () => {
    const networks = networksOf([chain('eip155:31337')], { base: 'eip155:31337' });
    expect(networks.find(1, 'base')).toBeUndefined();
  });
});

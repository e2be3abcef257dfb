import { InvalidInput } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './config';

const minimal = {
  DATABASE_URL: 'postgres://localhost/batch_settlement',
  SCREENING_ADDRESS: 'localhost:1',
  PAYMASTER_ADDRESS: 'localhost:2',
  RELAYER_ADDRESS: 'localhost:3',
  CHAINS: JSON.stringify([
    {
      chainId: 'eip155:31337',
      mode: 'test',
      rpcUrls: ['http://localhost:8545'],
      vaultAddress: `0x${'11'.repeat(20)}`,
      finalityDepth: 2,
      blockTimeMs: 1000,
      tokens: [{ symbol: 'USDC', address: `0x${'22'.repeat(20)}`, decimals: 6, eip712Name: 'USD Coin', eip712Version: '2' }],
    },
  ]),
};

describe('configuration', () => {
  it('needs peers, a database and chains; the rest has defaults', () => {
    expect(parseConfig(minimal)).toMatchObject({ BATCH_MAX_AGE_MS: 60_000, BATCH_MAX_VALUE_MINOR: 1_000_000_000_000n, BATCH_SPONSOR_ID: 'spo_settlement' });
  });
  it('names every problem at once', () => {
    const parse = () => parseConfig({ ...minimal, RELAYER_ADDRESS: 'nowhere', BATCH_MAX_VALUE_MINOR: '1.5', BATCH_MAX_AGE_MS: '-1', CHAINS: '{' });
    expect(parse).toThrow(InvalidInput);
    try {
      parse();
    } catch (error) {
      expect(error instanceof InvalidInput && error.issues.map((i) => i.path).sort()).toEqual(['BATCH_MAX_AGE_MS', 'BATCH_MAX_VALUE_MINOR', 'CHAINS', 'RELAYER_ADDRESS']);
    }
  });
});

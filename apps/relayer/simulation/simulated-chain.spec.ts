import { describe, expect, it } from 'vitest';
import { noFaults } from './faults';
import { Prng } from './prng';
import { SimulatedChain, type SignedBytes } from './simulated-chain';

const GWEI = 1_000_000_000n;
const setUp = (finalityDepth = 3, endpoints = 2): SimulatedChain =>
  new SimulatedChain({ prng: new Prng(1), counts: noFaults(), endpoints, finalityDepth, blockTransactionsMax: 5, genesisS: 100, termsOf: () => ({ validBeforeS: 1_000, hasFunds: true }) });

let made = 0;
function bytes(nonce: bigint, authorizations: readonly string[], feeGwei = 1_000n): SignedBytes {
  made += 1;
  return {
    raw: `0xraw${made}`,
    hash: `0xhash${made}`,
    sender: '0xkey',
    nonce,
    authorizations,
    gasLimit: 100_000n,
    feePerGasWeiMax: feeGwei * GWEI,
    priorityFeePerGasWeiMax: feeGwei * GWEI,
    foreign: false,
  };
}

describe('the simulated chain', () => {
  it('mines nonces in their order and only without a hole', () => {
    const chain = setUp();
    const [first, third] = [bytes(0n, ['a']), bytes(2n, ['c'])];
    chain.submit(third, 0);
    chain.submit(first, 0);
    expect(chain.pendingCount('0xkey', 0)).toBe(1n);
    expect(chain.mine(0, 101).transactions.map((it) => it.bytes)).toEqual([first]);
    expect(chain.count('0xkey')).toBe(1n);
    expect(chain.count('0xkey', 1)).toBe(0n);
    expect(chain.receipt(first.hash)?.block.number).toBe(1);
    expect(chain.receipt(first.hash, 1)).toBeUndefined();
  });

  it('executes an authorization once; whoever carries it again is told that it is used', () => {
    const chain = setUp();
    chain.submit(bytes(0n, ['a', 'b']), 0);
    chain.submit(bytes(1n, ['b']), 0);
    expect(chain.mine(0, 101).transactions.map((it) => it.outcomes.map(({ result }) => result))).toEqual([['executed', 'executed'], ['used']]);
  });

  it("takes another version of a nonce only for a tenth more on both fees, each node by its own mempool", () => {
    const chain = setUp();
    const first = bytes(0n, ['a'], 100n);
    expect(chain.submit(first, 0)).toBe('accepted');
    expect(chain.submit(first, 0)).toBe('known');
    expect(chain.submit(bytes(0n, ['a'], 109n), 0)).toBe('replacement-underpriced');
    const replacement = bytes(0n, ['a'], 110n);
    expect(chain.submit(replacement, 0)).toBe('accepted');
    expect(chain.submit(bytes(0n, ['a'], 50n), 1)).toBe('accepted');
    expect(chain.mine(0, 101).transactions[0]?.bytes).toBe(replacement);
    expect(chain.submit(first, 1)).toBe('nonce-used');
  });

  it('takes back no more blocks than finality allows, and what they did with them', () => {
    const chain = setUp(2);
    const [first, second] = [bytes(0n, ['a']), bytes(1n, ['b'])];
    chain.submit(first, 0);
    chain.mine(0, 101);
    chain.mine(0, 102);
    chain.submit(second, 0);
    chain.mine(0, 103);
    expect(chain.reorg(9, () => false)).toBe(2);
    expect(chain.head.number).toBe(1);
    expect([chain.executedBy('a'), chain.executedBy('b')]).toEqual([first.hash, undefined]);
    expect(chain.receipt(second.hash)).toBeUndefined();
    expect(chain.count('0xkey')).toBe(1n);
    // Block 1 was final when the chain was 3 long: a shorter branch does not make it less so.
    chain.mine(0, 104);
    expect(chain.reorg(9, () => false)).toBe(1);
  });

  it('puts what a lost branch held back where some node still has it', () => {
    const chain = setUp();
    const first = bytes(0n, ['a']);
    chain.submit(first, 0);
    const before = chain.mine(0, 101).hash;
    chain.reorg(1, (_bytes, endpoint) => endpoint === 1);
    expect(chain.mine(0, 102).transactions).toEqual([]);
    expect(chain.mine(1, 103).transactions[0]?.bytes).toBe(first);
    expect(chain.receipt(first.hash)?.block.number).toBe(2);
    expect([chain.firstHash(1), chain.block(1)?.hash === before]).toEqual([before, false]);
  });

  it('lets nothing through a frozen vault: the transaction is mined and does nothing', () => {
    const chain = setUp();
    chain.frozen = true;
    chain.submit(bytes(0n, ['a']), 0);
    expect(chain.mine(0, 101).transactions[0]).toMatchObject({ status: 0, outcomes: [] });
    expect(chain.executedBy('a')).toBeUndefined();
  });

  it('leaves below its base fee what offers less', () => {
    const chain = setUp();
    chain.submit(bytes(0n, ['a'], 5n), 0);
    chain.spikeBaseFee(10n);
    expect(chain.mine(0, 101).transactions).toEqual([]);
    chain.calmBaseFee();
    expect(chain.mine(0, 102).transactions).toHaveLength(1);
  });
});

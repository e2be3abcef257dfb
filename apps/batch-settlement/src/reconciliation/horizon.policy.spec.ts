import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reconciliationHorizon, unpostedBlocks, type HorizonInput } from './horizon.policy';

const block = (number: bigint, timestampSeconds = number * 10n) => ({ number, hash: `0x${number}`, timestampSeconds });
const movement = (blockNumber: bigint, amount = 5n, throughVault = true) => ({ transactionHash: `0x${blockNumber}`, blockNumber, amount, throughVault });
const input = (facts: Partial<HorizonInput>): HorizonInput => ({
  finalized: block(100n),
  head: block(102n),
  movements: [],
  posted: new Map(),
  timestampSecondsOf: new Map([90n, 95n, 99n].map((n) => [n, n * 10n])),
  graceSeconds: 60n,
  ...facts,
});

describe('the block up to which ledger and chain are comparable', () => {
  it('is the final one when everything before it is posted', () => {
    expect(reconciliationHorizon(input({ movements: [movement(95n)], posted: new Map([['0x95', 5n]]) }))).toBe(100n);
  });
  it('lies before the first fact that is still on its way', () => {
    expect(reconciliationHorizon(input({ movements: [movement(99n), movement(98n)], timestampSecondsOf: new Map([[98n, 980n], [99n, 990n]]) }))).toBe(97n);
  });
  it('counts a transaction of which only a part is posted as on its way', () => {
    expect(reconciliationHorizon(input({ movements: [movement(99n)], posted: new Map([['0x99', 3n]]) }))).toBe(98n);
  });
  it('passes a fact that has had its time: its absence is a difference', () => {
    // Head at 1,020 s: block 95 is 70 s old, more than the grace of 60.
    expect(reconciliationHorizon(input({ movements: [movement(95n)] }))).toBe(100n);
  });
  it('passes a transfer past the vault at once: nobody will post it', () => {
    expect(reconciliationHorizon(input({ movements: [movement(99n, 1n, false)] }))).toBe(100n);
  });
  it('asks for the times of unposted blocks only', () => {
    expect(unpostedBlocks([movement(90n), movement(95n), movement(99n, 1n, false)], new Map([['0x90', 5n]]))).toEqual([95n]);
  });
  it('never lies behind a fact on its way, nor after the final block', () => {
    const movements = fc.array(fc.record({ at: fc.bigInt({ min: 60n, max: 100n }), through: fc.boolean(), posted: fc.boolean() }), { maxLength: 12 });
    fc.assert(
      fc.property(movements, (facts) => {
        const some = facts.map((f, i) => ({ transactionHash: `0x${i}`, blockNumber: f.at, amount: 1n, throughVault: f.through }));
        const posted = new Map(facts.flatMap((f, i) => (f.posted ? [[`0x${i}`, 1n] as const] : [])));
        const times = new Map(some.map((m) => [m.blockNumber, m.blockNumber * 10n]));
        const horizon = reconciliationHorizon(input({ movements: some, posted, timestampSecondsOf: times }));
        expect(horizon <= 100n).toBe(true);
        const onItsWay = some.filter((m, i) => m.throughVault && facts[i]?.posted === false && 1_020n - m.blockNumber * 10n < 60n);
        expect(onItsWay.every((m) => m.blockNumber > horizon)).toBe(true);
        if (onItsWay.length === 0) expect(horizon).toBe(100n);
      }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { breakChanges } from './break.policy';

const at = (subject: string, ledger: bigint, chain: bigint) => ({ subject, ledger, chain });

describe('breaks', () => {
  it('open for a difference of one unit', () => {
    expect(breakChanges([at('token', 5n, 6n), at('vault', 5n, 5n)], [])).toEqual({ opened: [at('token', 5n, 6n)], closed: [] });
  });
  it('stay while the difference stays, also as both sides move', () => {
    expect(breakChanges([at('token', 15n, 16n)], [{ breakId: 'brk_1', ...at('token', 5n, 6n) }])).toEqual({ opened: [], closed: [] });
  });
  it('close when it has vanished, and open anew when it has changed', () => {
    const open = [{ breakId: 'brk_1', ...at('token', 5n, 6n) }];
    expect(breakChanges([at('token', 6n, 6n)], open)).toEqual({ opened: [], closed: open });
    expect(breakChanges([at('token', 5n, 7n)], open)).toEqual({ opened: [at('token', 5n, 7n)], closed: open });
  });
  it('are open afterwards for exactly the subjects that differ', () => {
    const comparison = fc.record({ subject: fc.constantFrom('a', 'b', 'c'), ledger: fc.bigInt({ min: 0n, max: 2n }), chain: fc.bigInt({ min: 0n, max: 2n }) });
    const unique = fc.uniqueArray(comparison, { selector: (c) => c.subject });
    fc.assert(
      fc.property(unique, unique, (comparisons, before) => {
        const open = before.filter((b) => b.ledger !== b.chain).map((b, i) => ({ breakId: `brk_${i}`, ...b }));
        const { opened, closed } = breakChanges(comparisons, open);
        const after = [...open.filter((b) => !closed.includes(b)), ...opened].map((b) => b.subject).sort();
        expect(after).toEqual(comparisons.filter((c) => c.ledger !== c.chain).map((c) => c.subject).sort());
      }),
    );
  });
});

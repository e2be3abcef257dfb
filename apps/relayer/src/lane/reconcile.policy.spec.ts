import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reconcile, type OpenNonce } from './reconcile.policy';

describe('reconciling the log with the chain', () => {
  it('begins at the chain\'s count for a key that this log has never used', () => {
    expect(reconcile([], undefined, 7n)).toEqual({ outcome: 'agreed', nextNonce: 7n, sign: [], broadcast: [], look: [] });
  });

  it('signs what is planned, broadcasts what is signed, looks for what is mined', () => {
    const open: OpenNonce[] = [
      { nonce: 3n, phase: 'signed' },
      { nonce: 4n, phase: 'signed' },
      { nonce: 5n, phase: 'planned' },
    ];
    expect(reconcile(open, 6n, 4n)).toEqual({ outcome: 'agreed', nextNonce: 6n, sign: [5n], broadcast: [4n], look: [3n] });
  });

  it('stops when the chain has used a nonce that the log has not planned', () => {
    expect(reconcile([], 6n, 7n)).toMatchObject({ outcome: 'foreign', nonce: 6n });
  });

  it('stops when the chain has used a nonce whose bytes were never made', () => {
    expect(reconcile([{ nonce: 5n, phase: 'planned' }], 6n, 6n)).toMatchObject({ outcome: 'foreign', nonce: 5n });
  });

  it('stops when the chain lacks what the log holds for final', () => {
    expect(reconcile([{ nonce: 5n, phase: 'signed' }], 6n, 4n)).toMatchObject({ outcome: 'hole', nonce: 4n });
  });

  it('never goes below the log nor reuses a nonce, and gives each open nonce exactly one task', () => {
    const log = fc.record({ finals: fc.integer({ min: 0, max: 5 }), open: fc.array(fc.constantFrom('planned' as const, 'signed' as const, 'included' as const), { maxLength: 6 }), mined: fc.nat(12) });
    fc.assert(
      fc.property(log, ({ finals, open: phases, mined }) => {
        const open = phases.map((phase, i) => ({ nonce: BigInt(finals + i), phase }));
        const next = BigInt(finals + phases.length);
        const result = reconcile(open, next, BigInt(mined));
        if (result.outcome !== 'agreed') {
          const early = open.some((it) => it.phase === 'planned' && it.nonce < BigInt(mined));
          expect(BigInt(mined) > next || mined < finals || early).toBe(true);
          return;
        }
        expect(result.nextNonce).toBe(next);
        expect([...result.sign, ...result.broadcast, ...result.look].sort()).toEqual(open.map((it) => it.nonce).sort());
      }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reconcile, type OpenNonce } from './reconcile.policy';

const none: ReadonlySet<bigint> = new Set();

describe('reconciling the log with the chain', () => {
  it('begins at the chain\'s count for a key that this log has never used', () => {
    expect(reconcile({ open: [], nextNonceOfLog: undefined, chainCount: 7n, ended: none })).toEqual({ nextNonce: 7n, sign: [], broadcast: [], look: [], displaced: [], gaps: [], disagreement: undefined });
  });

  it('signs what is planned, broadcasts what is signed, looks for what is mined', () => {
    const open: OpenNonce[] = [
      { nonce: 3n, phase: 'signed' },
      { nonce: 4n, phase: 'signed' },
      { nonce: 5n, phase: 'planned' },
    ];
    expect(reconcile({ open, nextNonceOfLog: 6n, chainCount: 4n, ended: none })).toEqual({ nextNonce: 6n, sign: [5n], broadcast: [4n], look: [3n], displaced: [], gaps: [], disagreement: undefined });
  });

  it('goes on at the chain\'s count when the chain has used nonces that the log has not planned, and says that somebody else signs', () => {
    const result = reconcile({ open: [], nextNonceOfLog: 6n, chainCount: 9n, ended: none });
    expect(result).toMatchObject({ nextNonce: 9n, gaps: [], disagreement: { kind: 'foreign' } });
  });

  it('displaces what was planned and never signed when the chain has used its nonce', () => {
    const result = reconcile({ open: [{ nonce: 5n, phase: 'planned' }], nextNonceOfLog: 6n, chainCount: 6n, ended: none });
    expect(result).toMatchObject({ displaced: [5n], sign: [], disagreement: { kind: 'foreign' } });
  });

  it('waits when the chain lacks what the log holds for final, and fills nothing', () => {
    const result = reconcile({ open: [{ nonce: 6n, phase: 'signed' }], nextNonceOfLog: 7n, chainCount: 4n, ended: new Set([4n]) });
    expect(result).toMatchObject({ nextNonce: 7n, gaps: [], disagreement: { kind: 'behind' } });
  });

  it('fills the nonces that nobody has used and that hold up later ones (OpenZeppelin relayer 818: an empty drift of the counter)', () => {
    const result = reconcile({ open: [{ nonce: 7n, phase: 'signed' }], nextNonceOfLog: 8n, chainCount: 4n, ended: none });
    expect(result).toMatchObject({ nextNonce: 8n, gaps: [4n, 5n, 6n], broadcast: [7n], disagreement: undefined });
  });

  it('never goes below the log or the chain, gives each open nonce exactly one task and leaves no nonce below the next without a transaction', () => {
    const log = fc.record({
      from: fc.integer({ min: 0, max: 4 }),
      slots: fc.array(fc.constantFrom('planned' as const, 'signed' as const, 'included' as const, 'ended' as const, 'absent' as const), { minLength: 1, maxLength: 8 }),
      mined: fc.nat(14),
    });
    fc.assert(
      fc.property(log, ({ from, slots, mined }) => {
        const at = slots.map((slot, i) => ({ nonce: BigInt(from + i), slot }));
        const open = at.flatMap(({ nonce, slot }) => (slot === 'ended' || slot === 'absent' ? [] : [{ nonce, phase: slot }]));
        const ended = new Set(at.flatMap(({ nonce, slot }) => (slot === 'ended' ? [nonce] : [])));
        const next = BigInt(from + slots.length);
        const count = BigInt(mined);
        const result = reconcile({ open, nextNonceOfLog: next, chainCount: count, ended });
        expect(result.nextNonce).toBe(count > next ? count : next);
        expect([...result.sign, ...result.broadcast, ...result.look, ...result.displaced].map(Number).toSorted()).toEqual(open.map((it) => Number(it.nonce)).toSorted());
        if (result.disagreement?.kind === 'behind') return;
        // From the chain's count on, every nonce below the next has a transaction that will be mined.
        const served = new Set([...result.sign, ...result.broadcast, ...result.gaps]);
        for (let nonce = count; nonce < result.nextNonce; nonce += 1n) expect(served.has(nonce)).toBe(true);
      }),
    );
  });
});

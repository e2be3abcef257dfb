import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectationOf, planScenario } from './scenario';

const options = fc.record({ payments: fc.integer({ min: 1, max: 300 }), merchants: fc.integer({ min: 1, max: 30 }), seed: fc.integer({ min: 0, max: 1_000 }) });

describe('scenario', () => {
  it('is the same for the same options', () => {
    fc.assert(fc.property(options, (o) => {
        expect(planScenario(o)).toEqual(planScenario(o));
      }));
  });

  it('submits exactly as many requests as asked for', () => {
    fc.assert(fc.property(options, (o) => {
        expect(planScenario(o).submissions).toHaveLength(o.payments);
      }));
  });

  it('accounts for every submission: replayed, refused or collected', () => {
    fc.assert(
      fc.property(options, (o) => {
        const expected = expectationOf(planScenario(o));
        const refused = Object.values(expected.refused).reduce((a, b) => a + b, 0);
        expect(expected.replayed + refused + expected.collected).toBe(o.payments);
      }),
    );
  });

  it('sends each unit to a merchant or leaves it in the vault', () => {
    fc.assert(
      fc.property(options, (o) => {
        const expected = expectationOf(planScenario(o));
        expect(expected.receivedByMerchant.reduce((a, b) => a + b, 0n) + expected.leftInVault).toBe(expected.collectedMinor);
      }),
    );
  });

  it('repeats an earlier, ordinary submission as the duplicate', () => {
    const { submissions } = planScenario({ payments: 50, merchants: 5, seed: 1 });
    const duplicate = submissions.find((submission) => submission.oddity === 'duplicate');
    const original = submissions[duplicate?.repeats ?? -1];
    expect(original?.oddity).toBe('none');
    expect(duplicate?.reference).toBe(original?.reference);
    expect((duplicate?.index ?? 0) > (original?.index ?? 0)).toBe(true);
  });

  it('has every oddity once when there is room', () => {
    const counts = planScenario({ payments: 500, merchants: 20, seed: 7 }).submissions.filter((s) => s.oddity !== 'none').map((s) => s.oddity);
    expect([...counts].sort()).toEqual(['duplicate', 'expired', 'forged-signature', 'no-funds', 'sanctioned-payer']);
  });
});

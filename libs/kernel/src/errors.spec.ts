import { describe, expect, it } from 'vitest';
import { InvalidInput, invariant, InvariantViolated, OperationalError } from './errors';
import { invalid, orThrow, parsed } from './parsed';
import { unreachable } from './unreachable';

describe('errors', () => {
  it('invalid input names every place and what is wrong there', () => {
    const error = new InvalidInput([{ path: 'amount', message: 'expected digits' }, { path: '', message: 'expected an object' }]);
    expect(error.message).toBe('amount: expected digits; expected an object');
    expect(error.issues).toHaveLength(2);
  });

  it('an operational error keeps its code, its cause and what is known of the effect', () => {
    const cause = new Error('socket closed');
    const error = new OperationalError('NODE_GONE', 'the node hung up after the broadcast', 'unknown', { cause });
    expect(error).toMatchObject({ name: 'OperationalError', code: 'NODE_GONE', outcome: 'unknown', cause });
  });

  it('a violated invariant is thrown with its facts', () => {
    expect(() => invariant(false, 'I4', 'the ledger does not sum to zero', { sum: 1n })).toThrow(
      expect.objectContaining({ name: 'InvariantViolated', code: 'I4', message: 'I4: the ledger does not sum to zero', facts: { sum: 1n } }),
    );
    expect(() => invariant(true, 'I4', 'holds')).not.toThrow();
  });

  it('a case that its type excludes stops at run time as well', () => {
    const lie: unknown = 'PaymentLost';
    expect(() => unreachable(lie as never)).toThrow(InvariantViolated);
  });
});

describe('parsed', () => {
  it('gives the value', () => {
    expect(orThrow(parsed(7))).toBe(7);
  });

  it.each([
    ['', '', ''],
    ['', 'body', 'body'],
    ['nonce', '', 'nonce'],
    ['nonce', 'authorization', 'authorization.nonce'],
  ])('or throws: the issue at %j below %j stands at %j', (inner, outer, path) => {
    expect(() => orThrow(invalid('expected 32 bytes', inner), outer)).toThrow(expect.objectContaining({ name: 'InvalidInput', issues: [{ path, message: 'expected 32 bytes' }] }));
  });
});

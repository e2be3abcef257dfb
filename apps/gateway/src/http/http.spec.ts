import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCursor, encodeCursor } from './cursor';
import { canonicalJson, fingerprintOf } from './fingerprint';
import { parseIdempotencyKey } from './idempotency-key';
import { Problem, problemOf } from './problem';
import { PROBLEMS } from './problem-codes';
import { InvalidInput, InvariantViolated, OperationalError } from '@settlement/kernel/errors';

describe('a cursor', () => {
  it('comes back as it was given, and nothing else is taken', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (createdAtNs) => {
        const position = { createdAtNs, id: 'pay_01jd3v8x0s9m6q4f2r7t5w1z8k' };
        expect(decodeCursor(encodeCursor(position))).toEqual({ ok: true, value: position });
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => {
      expect(decodeCursor(text).ok).toBe(false);
    }));
    expect(decodeCursor(`${encodeCursor({ createdAtNs: 1n, id: 'pay_01jd3v8x0s9m6q4f2r7t5w1z8k' })}=`).ok).toBe(false);
    expect(decodeCursor(encodeCursor({ createdAtNs: 2n ** 63n, id: 'pay_01jd3v8x0s9m6q4f2r7t5w1z8k' })).ok).toBe(false);
  });
});

describe('a fingerprint', () => {
  it('does not depend on the order of keys', () => {
    expect(fingerprintOf('POST', '/a', { b: 1, a: [{ d: 2, c: 3 }] })).toBe(fingerprintOf('POST', '/a', { a: [{ c: 3, d: 2 }], b: 1 }));
  });

  it('depends on method, path and every value', () => {
    const all = [fingerprintOf('POST', '/a', { a: 1 }), fingerprintOf('POST', '/b', { a: 1 }), fingerprintOf('PUT', '/a', { a: 1 }), fingerprintOf('POST', '/a', { a: '1' }), fingerprintOf('POST', '/a', { a: [1] })];
    expect(new Set(all).size).toBe(all.length);
  });

  it('is over text that parses back to the same document', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }));
  });
});

describe('an idempotency key', () => {
  it('is a structured-field string or a bare token, and both spellings are the same key', () => {
    expect(parseIdempotencyKey('"8e03978e-40d5-43e8-bc93-6894a57f9324"')).toEqual({ ok: true, value: '8e03978e-40d5-43e8-bc93-6894a57f9324' });
    expect(parseIdempotencyKey('8e03978e-40d5-43e8-bc93-6894a57f9324')).toEqual({ ok: true, value: '8e03978e-40d5-43e8-bc93-6894a57f9324' });
  });

  it.each(['', '""', 'a b', 'ä', 'x'.repeat(256), '\u0000'])('is not %j', (text) => {
    expect(parseIdempotencyKey(text).ok).toBe(false);
  });
});

describe('a problem', () => {
  it('has a 4xx or 5xx status and a title for every code', () => {
    for (const [code, { status, title }] of Object.entries(PROBLEMS)) {
      expect(code).toMatch(/^[A-Z][A-Z0-9_]+$/);
      expect(status >= 400 && status < 600).toBe(true);
      expect(title.length).toBeGreaterThan(5);
    }
  });

  it.each([
    [new InvalidInput([{ path: 'a', message: 'b' }]), 'INVALID_REQUEST'],
    [new OperationalError('X', 'x', 'unknown'), 'OUTCOME_UNKNOWN'],
    [new OperationalError('X', 'x', 'not-done'), 'STORE_UNAVAILABLE'],
    [new OperationalError('STALE_EPOCH', 'x', 'not-done'), 'STALE_EPOCH'],
    [new InvariantViolated('I2', 'x'), 'INTERNAL'],
    [new Error('secret inside'), 'INTERNAL'],
    ['thrown text', 'INTERNAL'],
  ])('for %s is %s and tells nothing of the inside', (error, code) => {
    const problem = problemOf(error);
    expect(problem).toBeInstanceOf(Problem);
    expect(problem.code).toBe(code);
    expect(JSON.stringify(problem.document('req_1'))).not.toContain('secret inside');
  });
});

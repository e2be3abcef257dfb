import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseId, parseMerchantId, parsePaymentId, ulidSource, type Randomness } from './ids';
import type { Clock, UnixMs, UnixNs } from './time';

function clockAt(ms: number): Clock {
  return { nowMs: () => ms as UnixMs, nowNs: () => (BigInt(ms) * 1_000_000n) as UnixNs, monotonicMs: () => ms, sleep: () => Promise.resolve() };
}

const always = (bytes: Uint8Array): Randomness => ({ bytes: () => bytes });
const tenBytes = fc.uint8Array({ minLength: 10, maxLength: 10 });
const momentMs = fc.integer({ min: 0, max: 2 ** 48 - 1 });

describe('ids', () => {
  it('are 48 bits of time and 80 of randomness in base32, most significant digit first', () => {
    // Worked out by hand: 2^48 - 1 milliseconds fill the upper bits, so the first digit is 7 and all others z.
    expect(ulidSource(clockAt(2 ** 48 - 1), always(new Uint8Array(10).fill(255))).next('pay')).toBe(`pay_7${'z'.repeat(25)}`);
    expect(ulidSource(clockAt(0), always(new Uint8Array(10))).next('mer')).toBe(`mer_${'0'.repeat(26)}`);
    expect(ulidSource(clockAt(1), always(new Uint8Array(10))).next('int')).toBe(`int_0000000001${'0'.repeat(16)}`);
    expect(ulidSource(clockAt(0), always(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 33))).next('bat')).toBe(`bat_${'0'.repeat(24)}11`);
  });

  it('sort as text by the time they were made, whatever the randomness', () => {
    fc.assert(
      fc.property(momentMs, momentMs, tenBytes, tenBytes, (a, b, x, y) => {
        fc.pre(a < b);
        expect(ulidSource(clockAt(a), always(x)).next('pay') < ulidSource(clockAt(b), always(y)).next('pay')).toBe(true);
      }),
    );
  });

  it('of one millisecond differ when their randomness does', () => {
    fc.assert(
      fc.property(momentMs, tenBytes, tenBytes, (ms, x, y) => {
        const same = x.every((byte, i) => byte === y[i]);
        expect(ulidSource(clockAt(ms), always(x)).next('pay') === ulidSource(clockAt(ms), always(y)).next('pay')).toBe(same);
      }),
    );
  });

  it('parse back as their own kind and as no other', () => {
    fc.assert(
      fc.property(momentMs, tenBytes, (ms, bytes) => {
        const id = ulidSource(clockAt(ms), always(bytes)).next('pay');
        expect(parsePaymentId(id)).toEqual({ ok: true, value: id });
        expect(parseMerchantId(id).ok).toBe(false);
      }),
    );
  });

  const good = `rsv_${'0'.repeat(26)}`;
  it.each([good.slice(1), `${good}0`, good.slice(0, -1), good.toUpperCase(), `rsv_${'i'.repeat(26)}`, `rsv-${'0'.repeat(26)}`, ` ${good}`, `${good}\n`, '', 7, null, undefined, [good]])(
    'refuse %j and show what one looks like',
    (text) => {
      expect(parseId('rsv')(text)).toEqual({ ok: false, issues: [{ path: '', message: 'expected an id such as rsv_01jd3v8x0s9m6q4f2r7t5w1z8k' }] });
    },
  );

  it('the example in the message is itself an id', () => {
    expect(parseId('rsv')('rsv_01jd3v8x0s9m6q4f2r7t5w1z8k').ok).toBe(true);
  });
});

import { systemRandomness } from '@settlement/config/system-ports';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SecretBox } from './secret-box';

const box = new SecretBox(new Uint8Array(32).fill(1), systemRandomness);

describe('a secret box', () => {
  it('opens what it sealed, and seals nothing twice alike', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const sealed = box.seal(text);
      expect(box.open(sealed)).toBe(text);
      expect(box.seal(text)).not.toBe(sealed);
    }));
  });

  it('does not open with another key or after a change', () => {
    const sealed = box.seal('whsec_abc');
    expect(() => new SecretBox(new Uint8Array(32).fill(2), systemRandomness).open(sealed)).toThrow(expect.objectContaining({ code: 'SECRET_KEY_CHANGED' }));
    const last = sealed.at(-2) === 'A' ? 'B' : 'A';
    expect(() => box.open(`${sealed.slice(0, -2)}${last}${sealed.slice(-1)}`)).toThrow(expect.objectContaining({ code: 'SECRET_KEY_CHANGED' }));
  });
});

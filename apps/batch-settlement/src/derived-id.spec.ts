import { parseBatchId } from '@settlement/kernel/ids';
import { describe, expect, it } from 'vitest';
import { derivedId, derivedKey, siblingId } from './derived-id';

describe('derived ids', () => {
  it('follow from their parts and look like all others', () => {
    // The same in every process and version: a change would make a retry another call.
    // SHA-256 of "12:eip155:313374:USDC1:1", computed apart from this code.
    expect(derivedId('bat', 'eip155:31337', 'USDC', '1')).toBe('bat_c8en8qetn2sshkhddh8ay07edw');
    expect(derivedKey('eip155:31337', 'USDC', '1')).toBe('0x621d545ddaa8b398ce2d6c50af00ee6f35b9d0e46d5b0c06bda651e558764bec');
    expect(parseBatchId(derivedId('bat', 'eip155:31337', 'USDC', '1')).ok).toBe(true);
  });
  it('keep parts apart', () => {
    expect(derivedId('bat', 'ab', 'c')).not.toBe(derivedId('bat', 'a', 'bc'));
    expect(derivedKey('ab', 'c')).not.toBe(derivedKey('a', 'bc'));
  });
  it('make siblings that share all but the kind', () => {
    expect(siblingId('int', 'bat_0abc')).toBe('int_0abc');
  });
});

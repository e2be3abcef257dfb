import { createHmac } from 'node:crypto';
import { Role, Subject } from '@settlement/proto/screening/v1/screening';
import { describe, expect, it } from 'vitest';
import { partiesDigest, type Query } from './parties-digest';

const OLD = Buffer.from('11'.repeat(32), 'hex');
const NEW = Buffer.from('22'.repeat(32), 'hex');
const query = (name: string): Query => ({ subject: Subject.SUBJECT_PAYMENT, subjectId: 'pay_1', parties: [{ role: Role.ROLE_PAYER, chainId: 'eip155:1', address: '0xab', name }] });

describe('parties digest', () => {
  it('is HMAC-SHA-256 over the canonical query, under the newest key, named by 8 digits of its hash', () => {
    const expected = createHmac('sha256', NEW).update('[1,"pay_1",[[1,"eip155:1","0xab","Jane"]]]').digest('hex');
    expect(partiesDigest([NEW, OLD]).of(query('Jane'))).toMatch(new RegExp(`^[0-9a-f]{8}:${expected}$`));
  });
  it('recognises a query that was digested under an older key', () => {
    const recorded = partiesDigest([OLD]).of(query('Jane'));
    const rotated = partiesDigest([NEW, OLD]);
    expect(rotated.like(recorded, query('Jane'))).toBe(recorded);
    expect(rotated.like(recorded, query('John'))).not.toBe(recorded);
  });
  it('says when the key is gone, instead of that the parties differ', () => {
    expect(partiesDigest([NEW]).like(partiesDigest([OLD]).of(query('Jane')), query('Jane'))).toBeUndefined();
  });
  it('does not mistake a separator within a name for one between fields', () => {
    const digest = partiesDigest([NEW]);
    expect(digest.of(query('a","b'))).not.toBe(digest.of(query('a'),));
  });
});

import { InvalidInput } from '@settlement/kernel/errors';
import { Role, Subject, type Party, type ScreenRequest } from '@settlement/proto/screening/v1/screening';
import { describe, expect, it } from 'vitest';
import { PARTIES_MAX, parseScreenRequests } from './screen-request';

const ADDRESS = '0x7F367cC41522cE07553e823bf3be79A889DEbe1B';
const party = (over: Partial<Party> = {}): Party => ({ role: Role.ROLE_PAYEE, chainId: 'eip155:8453', address: ADDRESS, name: '', ...over });
const request = (over: Partial<ScreenRequest> = {}): ScreenRequest => ({ screeningId: 'scr_1', subject: Subject.SUBJECT_PAYOUT, subjectId: 'bat_1', parties: [party()], ...over });
const issuesOf = (...requests: ScreenRequest[]): readonly string[] => {
  try {
    parseScreenRequests(requests, (i) => `items[${i}]`);
    return [];
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    return error.issues.map(({ path, message }) => `${path}: ${message}`);
  }
};

describe('screen request', () => {
  it('hands addresses on in canonical form and names as given', () => {
    expect(parseScreenRequests([request({ parties: [party({ name: 'Jane Doe' })] })], () => '')[0]?.parties).toEqual([
      { role: Role.ROLE_PAYEE, chainId: 'eip155:8453', address: ADDRESS.toLowerCase(), name: 'Jane Doe' },
    ]);
  });
  it('takes a whole batch of payees, keeps each, and refuses more', () => {
    const payees = (count: number): Party[] => Array.from({ length: count }, (_, i) => party({ address: `0x${i.toString(16).padStart(40, '0')}` }));
    expect(parseScreenRequests([request({ parties: payees(PARTIES_MAX) })], () => '')[0]?.parties).toHaveLength(PARTIES_MAX);
    expect(issuesOf(request({ parties: payees(PARTIES_MAX + 1) }))).toEqual([`items[0].parties: expected 1 to ${PARTIES_MAX} parties`]);
  });
  it('takes a party with a name alone', () => {
    expect(issuesOf(request({ parties: [party({ chainId: '', address: '', name: 'Jane Doe' })] }))).toEqual([]);
  });
  it.each([
    ['a party with nothing to screen', { parties: [party({ address: '', name: ' ' })] }, 'items[0].parties[0]'],
    ['no role', { parties: [party({ role: Role.ROLE_UNSPECIFIED })] }, 'items[0].parties[0].role'],
    ['no chain for an address', { parties: [party({ chainId: '' })] }, 'items[0].parties[0].chain_id'],
    ['an address of another chain', { parties: [party({ address: '12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h' })] }, 'items[0].parties[0].address'],
    ['no subject', { subject: Subject.SUBJECT_UNSPECIFIED }, 'items[0].subject'],
    ['no parties', { parties: [] }, 'items[0].parties'],
  ])('refuses %s', (_title, over, path) => {
    expect(issuesOf(request(over))).toEqual([expect.stringMatching(new RegExp(`^${path.replace(/[[\]]/g, '\\$&')}: `))]);
  });
  it('never quotes a name or an address', () => {
    expect(issuesOf(request({ parties: [party({ address: 'SECRETADDRESS', name: 'S'.repeat(1_001) })] })).join()).not.toMatch(/SECRET|SSS/);
  });
});

import { Role, ScreeningReason, Verdict } from '@settlement/proto/screening/v1/screening';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ListEntry } from '../list/list-content';
import { indexList } from '../matching/list-index';
import type { ScreenedParty } from './party';
import { judge, type ActiveList } from './screening.policy';

const ADDRESS = '0x7f367cc41522ce07553e823bf3be79a889debe1b';
const entry = (over: Partial<ListEntry>): ListEntry => ({ entryId: '29584', name: 'POTEKHIN, Danil', kind: 'individual', programs: ['CYBER2', 'DPRK3'], aliases: [{ altNum: '7', kind: 'aka', name: 'CRONUSWAR, Danil' }], addresses: [{ ticker: 'ETH', address: ADDRESS }], ...over });
const list = (listId: string, ...entries: ListEntry[]): ActiveList => ({
  listId,
  label: `${listId}@1`,
  index: indexList({ entries, counts: { entries: entries.length, sdn: 0, add: 0, alt: 0, comments: 0, remarkAddresses: 0, fileAddresses: 0, unsoundAddresses: 0 }, fileNames: [], endMarked: [] }),
});
const party = (over: Partial<ScreenedParty>): ScreenedParty => ({ role: Role.ROLE_PAYER, chainId: 'eip155:1', address: '0x1111111111111111111111111111111111111111', name: '', ...over });
const ofac = list('ofac', entry({}));

describe('rule pack', () => {
  it('allows who is on no list', () => {
    expect(judge([party({ name: 'Jane Doe' })], [ofac])).toEqual({ verdict: Verdict.VERDICT_ALLOW, reason: ScreeningReason.SCREENING_REASON_NO_MATCH, matches: [] });
  });
  it('rejects a listed address, with the entry and its programs', () => {
    expect(judge([party({}), party({ role: Role.ROLE_PAYEE, address: ADDRESS })], [ofac])).toEqual({
      verdict: Verdict.VERDICT_REJECT,
      reason: ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS,
      matches: [{ role: Role.ROLE_PAYEE, listId: 'ofac', entryId: '29584', entryName: 'POTEKHIN, Danil', matchedOn: 'address', program: 'CYBER2; DPRK3' }],
    });
  });
  it('holds a listed name, also in another order, accent and script', () => {
    for (const name of ['Danil Potekhin', 'potekhin DANIL', 'Дaнил Потехин'.replace('a', 'а')]) {
      expect(judge([party({ name })], [ofac]), name).toMatchObject({ verdict: Verdict.VERDICT_HOLD, reason: ScreeningReason.SCREENING_REASON_NAME_MATCH, matches: [{ matchedOn: 'name' }] });
    }
  });
  it('says which alias matched', () => {
    expect(judge([party({ name: 'danil cronuswar' })], [ofac])).toMatchObject({ verdict: Verdict.VERDICT_HOLD, matches: [{ matchedOn: 'alias:7', entryName: 'POTEKHIN, Danil' }] });
  });
  it('takes the strictest of all findings over all lists and records each', () => {
    const { verdict, matches } = judge([party({ name: 'Danil Potekhin' }), party({ address: ADDRESS })], [ofac, list('addresses', entry({ entryId: 'x.txt', aliases: [] }))]);
    expect(verdict).toBe(Verdict.VERDICT_REJECT);
    expect(matches.map(({ listId, matchedOn }) => `${listId} ${matchedOn}`)).toEqual(['ofac name', 'ofac address', 'addresses address']);
  });
  it('does not match a name that has no letter against another such name', () => {
    expect(judge([party({ name: '***' })], [list('odd', entry({ name: '-', aliases: [], addresses: [] }))])).toMatchObject({ verdict: Verdict.VERDICT_ALLOW });
  });
  it('is never more lenient for one party more', () => {
    const parties = fc.array(fc.record({ address: fc.constantFrom(ADDRESS, '0x1111111111111111111111111111111111111111'), name: fc.constantFrom('', 'Jane Doe', 'Danil Potekhin') }), { maxLength: 5 });
    fc.assert(fc.property(parties, parties, (some, more) => {
      const verdictOf = (of: typeof some): Verdict => judge(of.map((p) => party(p)), [ofac]).verdict;
      expect(verdictOf([...some, ...more])).toBeGreaterThanOrEqual(verdictOf(some));
    }));
  });
});

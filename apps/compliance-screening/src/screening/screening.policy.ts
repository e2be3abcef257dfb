import { ScreeningReason, Verdict } from '@settlement/proto/screening/v1/screening';
import type { IndexHit, ListIndex } from '../matching/list-index';
import { normalisedName } from '../matching/normalised-name';
import type { ScreenedParty } from './party';
import type { ScreeningMatch } from './screening.events';

/** Recorded with each decision. Change it with any change of `judge`. */
export const RULE_PACK_VERSION = 'basic-1';

/** A list version that decisions are made with. */
export interface ActiveList {
  readonly listId: string;
  /** `<list id>@<version>#sha256:<hex>`. */
  readonly label: string;
  readonly index: ListIndex;
}

export interface Judgement {
  readonly verdict: Verdict;
  readonly reason: ScreeningReason;
  readonly matches: readonly ScreeningMatch[];
}

/**
 * The rule pack: a listed address is rejected, a listed name is held for a person (names are shared by the innocent),
 * everything else may go on. The strictest finding wins; every finding is recorded.
 */
export function judge(parties: readonly ScreenedParty[], lists: readonly ActiveList[]): Judgement {
  const matches: ScreeningMatch[] = [];
  let addressMatched = false;
  for (const party of parties) {
    const name = party.name === '' ? '' : normalisedName(party.name);
    for (const { listId, index } of lists) {
      const onAddress = party.address === '' ? [] : index.address(party.address);
      if (onAddress.length > 0) addressMatched = true;
      for (const hit of onAddress) matches.push(matchOf(party, listId, hit));
      for (const hit of name === '' ? [] : index.name(name)) matches.push(matchOf(party, listId, hit));
    }
  }
  if (addressMatched) return { verdict: Verdict.VERDICT_REJECT, reason: ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS, matches };
  if (matches.length > 0) return { verdict: Verdict.VERDICT_HOLD, reason: ScreeningReason.SCREENING_REASON_NAME_MATCH, matches };
  return { verdict: Verdict.VERDICT_ALLOW, reason: ScreeningReason.SCREENING_REASON_NO_MATCH, matches };
}

function matchOf(party: ScreenedParty, listId: string, { entry, matchedOn }: IndexHit): ScreeningMatch {
  return { role: party.role, listId, entryId: entry.entryId, entryName: entry.name, matchedOn, program: entry.programs.join('; ') };
}

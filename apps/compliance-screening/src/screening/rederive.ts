import { isDeepStrictEqual } from 'node:util';
import { parseList } from '../list/ofac-list';
import { indexList } from '../matching/list-index';
import { MATCHER_VERSION } from '../matching/normalised-name';
import type { ListArchive } from '../ports/list-archive';
import type { PartiesDigest, Query } from './parties-digest';
import type { ScreeningDecided } from './screening.events';
import { judge, RULE_PACK_VERSION, type ActiveList, type Judgement } from './screening.policy';

export type Rederivation =
  | { readonly outcome: 'same'; readonly judgement: Judgement }
  | { readonly outcome: 'different'; readonly judgement: Judgement }
  /** It cannot be said with this build, or for these parties. */
  | { readonly outcome: 'not-comparable'; readonly why: string };

/**
 * Makes a recorded decision again (I6): with the archived bytes of the very list versions that it names, for parties that the
 * examiner supplies and the recorded digest confirms. Only a build with the same matcher and rule pack can say *same*.
 */
export async function rederive(recorded: ScreeningDecided, query: Query, archive: ListArchive, digest: PartiesDigest): Promise<Rederivation> {
  const { matcherVersion, rulePackVersion } = recorded;
  if (matcherVersion !== MATCHER_VERSION || rulePackVersion !== RULE_PACK_VERSION) {
    return { outcome: 'not-comparable', why: `decided with matcher ${matcherVersion} and rules ${rulePackVersion}; this build has ${MATCHER_VERSION} and ${RULE_PACK_VERSION}` };
  }
  const asked = digest.like(recorded.partiesDigest, query);
  if (asked !== recorded.partiesDigest) {
    return { outcome: 'not-comparable', why: asked === undefined ? 'the key of the recorded digest is not configured' : 'these are not the parties that were screened' };
  }
  const lists: ActiveList[] = [];
  for (const label of recorded.listVersions) {
    const [, listId = '', sha256 = ''] = /^(.+?)@.*#sha256:([0-9a-f]{64})$/.exec(label) ?? [];
    const parsed = parseList(await archive.files(listId, sha256));
    if (!parsed.ok) return { outcome: 'not-comparable', why: `this build cannot read ${label}: ${parsed.detail}` };
    lists.push({ listId, label, index: indexList(parsed.content) });
  }
  const judgement = judge(query.parties, lists);
  const { verdict, reason, matches } = recorded;
  return { outcome: isDeepStrictEqual(judgement, { verdict, reason, matches }) ? 'same' : 'different', judgement };
}

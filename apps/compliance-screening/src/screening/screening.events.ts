import type { ScreeningId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import type { Role, ScreeningReason, Subject, Verdict } from '@settlement/proto/screening/v1/screening';

/** What was matched: public data of the list, nothing of the query. */
export interface ScreeningMatch {
  readonly role: Role;
  readonly listId: string;
  readonly entryId: string;
  readonly entryName: string;
  readonly matchedOn: string;
  readonly program: string;
}

/** Stream `screening-<screening id>`: one event, for ever. */
export interface ScreeningDecided {
  readonly type: 'ScreeningDecided';
  readonly screeningId: ScreeningId;
  readonly subject: Subject;
  readonly subjectId: string;
  readonly verdict: Verdict;
  readonly reason: ScreeningReason;
  readonly matches: readonly ScreeningMatch[];
  readonly listVersions: readonly string[];
  readonly matcherVersion: string;
  readonly rulePackVersion: string;
  /** `<key id>:<HMAC-SHA-256>`, see parties-digest.ts. */
  readonly partiesDigest: string;
  readonly decidedAtNs: UnixNs;
}

export function screeningStream(screeningId: ScreeningId): string {
  return `screening-${screeningId}`;
}

import { createHash, createHmac } from 'node:crypto';
import type { Subject } from '@settlement/proto/screening/v1/screening';
import { invariant } from '@settlement/kernel/errors';
import type { ScreenedParty } from './party';

/** What a screening was asked about, in full. */
export interface Query {
  readonly subject: Subject;
  readonly subjectId: string;
  readonly parties: readonly ScreenedParty[];
}

/**
 * Tells whether two requests ask the same, without keeping what was asked (I9). Keyed: without the key a dictionary of names
 * cannot be tried against it. Written as `<key id>:<hex>`; the key id is 8 hex digits of the key's SHA-256, so that old
 * digests can still be compared after a new key was put in front.
 */
export interface PartiesDigest {
  /** Under the newest key. */
  of(query: Query): string;
  /** Under the key that `digest` names; `undefined` when that key is no longer configured. */
  like(digest: string, query: Query): string | undefined;
}

/** Newest key first. */
export function partiesDigest(keys: readonly Uint8Array[]): PartiesDigest {
  const byId = new Map(keys.map((key) => [createHash('sha256').update(key).digest('hex').slice(0, 8), key]));
  const [newest] = byId.keys();
  invariant(newest !== undefined, 'NO_DIGEST_KEY', 'at least one digest key is needed');
  const digest = (id: string, key: Uint8Array, query: Query): string =>
    `${id}:${createHmac('sha256', key).update(canonical(query)).digest('hex')}`;
  return {
    of: (query) => digest(newest, byId.get(newest) ?? new Uint8Array(), query),
    like: (recorded, query) => {
      const id = recorded.slice(0, recorded.indexOf(':'));
      const key = byId.get(id);
      return key === undefined ? undefined : digest(id, key, query);
    },
  };
}

/** JSON of arrays has one spelling for one value, and quotes what could be mistaken for a separator. */
function canonical({ subject, subjectId, parties }: Query): string {
  return JSON.stringify([subject, subjectId, parties.map(({ role, chainId, address, name }) => [role, chainId, address, name])]);
}

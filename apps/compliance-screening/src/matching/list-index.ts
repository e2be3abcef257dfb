import type { ListContent, ListEntry } from '../list/list-content';
import { canonicalAddress } from './canonical-address';
import { normalisedName } from './normalised-name';

export interface IndexHit {
  readonly entry: ListEntry;
  /** `address`, `name` or `alias:<alt_num>`. */
  readonly matchedOn: string;
}

/** One list version in memory, looked up by exact canonical form. */
export interface ListIndex {
  address(canonical: string): readonly IndexHit[];
  name(normalised: string): readonly IndexHit[];
}

const NO_HITS: readonly IndexHit[] = [];

/** Names that normalise to nothing (signs only) are left out: they would match every other such name. */
export function indexList(content: ListContent): ListIndex {
  const addresses = new Map<string, IndexHit[]>();
  const names = new Map<string, IndexHit[]>();
  const put = (map: Map<string, IndexHit[]>, key: string, hit: IndexHit): void => {
    const hits = map.get(key);
    if (hits === undefined) map.set(key, [hit]);
    // An entry whose alias equals its own name is one match, told by the stronger of the two, which comes first.
    else if (!hits.some((known) => known.entry === hit.entry)) hits.push(hit);
  };
  for (const entry of content.entries) {
    for (const { address } of entry.addresses) put(addresses, canonicalAddress(address), { entry, matchedOn: 'address' });
    if (entry.addresses.length > 0 && entry.entryId.endsWith('.txt')) continue;
    const primary = normalisedName(entry.name);
    if (primary !== '') put(names, primary, { entry, matchedOn: 'name' });
    for (const alias of entry.aliases) {
      const normalised = normalisedName(alias.name);
      if (normalised !== '') put(names, normalised, { entry, matchedOn: `alias:${alias.altNum}` });
    }
  }
  return {
    address: (canonical) => addresses.get(canonical) ?? NO_HITS,
    name: (normalised) => names.get(normalised) ?? NO_HITS,
  };
}

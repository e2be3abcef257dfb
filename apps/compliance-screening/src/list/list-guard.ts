import type { ListCounts } from './list-content';
import type { ListRefusal } from './list.events';

/** What a version is measured by. */
export interface ListShape {
  readonly counts: ListCounts;
  readonly fileNames: readonly string[];
  readonly endMarked: readonly string[];
}

export interface GuardLimits {
  /** A version with fewer entries than this is refused, also the first. */
  readonly entriesMin: number;
  /**
   * Largest loss against the active version, in basis points of any one count. 1,000 (a tenth): the biggest real removal in
   * 250 versions of OFAC's SDN list (2021-08 to 2023-12) took 150 entries, 1.6 %. A mass de-listing such as that of
   * 2025-03-21 (90 addresses at once) passes within an SDN set, and waits for a person where the list is addresses only.
   */
  readonly shrinkBasisPointsMax: bigint;
}

export const DEFAULT_GUARD: GuardLimits = { entriesMin: 1, shrinkBasisPointsMax: 1_000n };

export interface GuardRefusal {
  readonly reason: ListRefusal;
  readonly detail: string;
}

/**
 * May this version replace the active one? `undefined` when it may. A list that a broken transfer or a broken export has cut
 * short must not un-sanction anybody by itself; a real shrinkage this large needs a person, who lowers the guard once.
 *
 * Addresses have no limit of their own beside the entries: de-listings take many addresses of one entry at once. A version
 * that loses all of its addresses is refused nevertheless.
 */
export function guardVersion(next: ListShape, active: ListShape | undefined, limits: GuardLimits): GuardRefusal | undefined {
  if (next.counts.entries < limits.entriesMin) {
    return { reason: 'SHRUNK', detail: `${next.counts.entries} entries, at least ${limits.entriesMin} expected` };
  }
  if (active === undefined) return undefined;

  const missing = active.fileNames.filter((name) => !next.fileNames.includes(name));
  if (missing.length > 0) return { reason: 'TRUNCATED', detail: `${missing.join(', ')} of the active version is missing` };
  const unmarked = active.endMarked.filter((name) => name !== 'sdn_comments.csv' && !next.endMarked.includes(name));
  if (unmarked.length > 0) return { reason: 'TRUNCATED', detail: `${unmarked.join(', ')} has lost its end mark 0x1A` };

  for (const count of ['entries', 'sdn', 'add', 'alt'] as const) {
    const before = active.counts[count];
    const now = next.counts[count];
    const lost = BigInt(before - now);
    if (lost > 0n && lost * 10_000n > BigInt(before) * limits.shrinkBasisPointsMax) {
      return { reason: 'SHRUNK', detail: `${count}: ${now} after ${before}, more than ${limits.shrinkBasisPointsMax} basis points fewer` };
    }
  }
  const addressesBefore = active.counts.remarkAddresses + active.counts.fileAddresses;
  const addressesNow = next.counts.remarkAddresses + next.counts.fileAddresses;
  if (addressesBefore > 0 && addressesNow === 0) {
    return { reason: 'SHRUNK', detail: `no digital-currency address after ${addressesBefore}` };
  }
  return undefined;
}

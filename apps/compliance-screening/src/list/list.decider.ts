import { accept, type Decider } from '@settlement/kernel/decider';
import type { UnixNs } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import { guardVersion, type GuardLimits, type ListShape } from './list-guard';
import type { ListEvent, ListRefusal } from './list.events';

/** What was found in the folder, already parsed: a shape, or the parser's refusal. */
export type Candidate =
  | { readonly ok: true; readonly version: string; readonly shape: ListShape }
  | { readonly ok: false; readonly reason: ListRefusal; readonly detail: string };

export interface OfferVersion {
  readonly type: 'OfferVersion';
  readonly listId: string;
  readonly sha256: string;
  /** When the files were last written: what tells an operator's roll-back from another replica's stale folder. */
  readonly writtenAtNs: UnixNs;
  readonly candidate: Candidate;
  /** Shape of the active version, looked up in the archive. */
  readonly active?: ListShape;
  readonly limits: GuardLimits;
  readonly nowNs: UnixNs;
}

export interface ListState {
  readonly active?: { readonly version: string; readonly sha256: string; readonly loadedAtNs: UnixNs };
  /** Every version that was ever active. A list has a few hundred versions a year. */
  readonly loaded: ReadonlySet<string>;
  readonly lastRefused?: string;
}

export type ListRejection = { readonly code: 'SUPERSEDED'; readonly activeSha256: string };

export const listDecider: Decider<OfferVersion, ListEvent, ListState, ListRejection> = {
  initialState: { loaded: new Set() },

  decide({ listId, sha256, writtenAtNs, candidate, active, limits, nowNs }, state) {
    // The folder is polled: the same bytes again are not news, neither the active ones nor those refused last.
    if (state.active?.sha256 === sha256) return accept();
    if (state.active !== undefined && state.loaded.has(sha256) && writtenAtNs <= state.active.loadedAtNs) {
      return { kind: 'rejected', rejection: { code: 'SUPERSEDED', activeSha256: state.active.sha256 } };
    }
    const refusal = candidate.ok ? guardVersion(candidate.shape, active, limits) : candidate;
    if (refusal !== undefined) {
      if (state.lastRefused === sha256) return accept();
      const { reason, detail } = refusal;
      return accept({ type: 'ListVersionRefused', listId, sha256, reason, detail, refusedAtNs: nowNs });
    }
    if (!candidate.ok) return accept();
    const entries = BigInt(candidate.shape.counts.entries);
    return accept({ type: 'ListVersionLoaded', listId, version: candidate.version, sha256, entries, loadedAtNs: nowNs });
  },

  evolve(state, event) {
    switch (event.type) {
      case 'ListVersionLoaded': {
        const { version, sha256, loadedAtNs } = event;
        return { active: { version, sha256, loadedAtNs }, loaded: new Set(state.loaded).add(sha256) };
      }
      case 'ListVersionRefused':
        return { ...state, lastRefused: event.sha256 };
      default:
        return unreachable(event);
    }
  },
};

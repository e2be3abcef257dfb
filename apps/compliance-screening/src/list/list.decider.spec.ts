import type { UnixNs } from '@settlement/kernel/time';
import { given } from '@settlement/testing/given';
import { describe, it } from 'vitest';
import { DEFAULT_GUARD, type ListShape } from './list-guard';
import { listDecider, type OfferVersion } from './list.decider';
import type { ListEvent } from './list.events';

const at = (ns: bigint): UnixNs => ns as UnixNs;
const shape = (entries: number): ListShape => ({
  counts: { entries, sdn: entries, add: 0, alt: 0, comments: 0, remarkAddresses: 0, fileAddresses: 0, unsoundAddresses: 0 },
  fileNames: ['sdn.csv'],
  endMarked: [],
});
const loaded = (sha256: string, entries = 100n, loadedAtNs = at(10n)): ListEvent => ({ type: 'ListVersionLoaded', listId: 'ofac', version: `v-${sha256}`, sha256, entries, loadedAtNs });
const refused = (sha256: string, reason: 'EMPTY' | 'SHRUNK', detail: string): ListEvent => ({ type: 'ListVersionRefused', listId: 'ofac', sha256, reason, detail, refusedAtNs: at(50n) });
const offer = (sha256: string, over: Partial<OfferVersion> = {}): OfferVersion => ({
  type: 'OfferVersion',
  listId: 'ofac',
  sha256,
  writtenAtNs: at(40n),
  candidate: { ok: true, version: `v-${sha256}`, shape: shape(100) },
  limits: DEFAULT_GUARD,
  nowNs: at(50n),
  ...over,
});
const EMPTY = { ok: false, reason: 'EMPTY', detail: 'sdn.csv has no bytes' } as const;

describe('list versions', () => {
  it('loads the first usable version', () => {
    given(listDecider).when(offer('a')).then(loaded('a', 100n, at(50n)));
  });
  it('finds no news in the same bytes', () => {
    given(listDecider, loaded('a')).when(offer('a')).thenNothing();
  });
  it('refuses what the parser refused, once', () => {
    given(listDecider, loaded('a')).when(offer('b', { candidate: EMPTY })).then(refused('b', 'EMPTY', 'sdn.csv has no bytes'));
    given(listDecider, loaded('a'), refused('b', 'EMPTY', 'sdn.csv has no bytes')).when(offer('b', { candidate: EMPTY })).thenNothing();
  });
  it('refuses a much smaller version', () => {
    given(listDecider, loaded('a'))
      .when(offer('b', { active: shape(100), candidate: { ok: true, version: 'v', shape: shape(80) } }))
      .then(refused('b', 'SHRUNK', 'entries: 80 after 100, more than 1000 basis points fewer'));
  });
  it('takes a version that was refused before, once the limits allow it', () => {
    given(listDecider, loaded('a'), refused('b', 'SHRUNK', 'x'))
      .when(offer('b', { active: shape(100), candidate: { ok: true, version: 'v-b', shape: shape(80) }, limits: { entriesMin: 1, shrinkBasisPointsMax: 5_000n } }))
      .then(loaded('b', 80n, at(50n)));
  });
  it('does not go back to an old version because another replica still has it in its folder', () => {
    given(listDecider, loaded('a', 100n, at(10n)), loaded('b', 100n, at(45n)))
      .when(offer('a', { writtenAtNs: at(5n), active: shape(100) }))
      .thenRejected({ code: 'SUPERSEDED', activeSha256: 'b' });
  });
  it('goes back to an old version that was put there anew', () => {
    given(listDecider, loaded('a', 100n, at(10n)), loaded('b', 100n, at(45n)))
      .when(offer('a', { writtenAtNs: at(46n), active: shape(100) }))
      .then(loaded('a', 100n, at(50n)));
  });
});

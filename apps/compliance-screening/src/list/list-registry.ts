import { fold } from '@settlement/kernel/decider';
import type { EventStore } from '@settlement/event-store/port';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import { msToNs, toRfc3339 } from '@settlement/kernel/time';
import { indexList } from '../matching/list-index';
import type { ListArchive } from '../ports/list-archive';
import type { FolderList, ListFolder } from '../ports/list-folder';
import type { ScreeningLog } from '../ports/screening-log';
import type { ScreeningMetrics } from '../ports/screening-metrics';
import { screeningCodec } from '../screening.codec';
import type { ActiveList } from '../screening/screening.policy';
import type { ListContent, ListFile } from './list-content';
import { listDigest } from './list-digest';
import type { GuardLimits, ListShape } from './list-guard';
import { listDecider, type Candidate, type ListState } from './list.decider';
import { listStream, type ListEvent } from './list.events';
import { parseList, type ParsedList } from './ofac-list';

export interface ListRegistryOptions {
  readonly store: EventStore;
  readonly archive: ListArchive;
  readonly folder: ListFolder;
  readonly clock: Clock;
  readonly log: ScreeningLog;
  readonly metrics: ScreeningMetrics;
  readonly limits: GuardLimits;
  /** A list that was not seen fresh for longer than this decides nothing. */
  readonly maxAgeMs: number;
  /** Lists that must all be usable; every list of the folder and the archive when empty. */
  readonly required: readonly string[];
}

export type UsableLists =
  | { readonly ok: true; readonly lists: readonly ActiveList[] }
  | { readonly ok: false; readonly why: string };

/** One list as this process knows it. */
interface KnownList {
  readonly listId: string;
  state: ListState;
  version: bigint;
  /** Set together with the state's active version. */
  active?: { readonly list: ActiveList; readonly shape: ListShape; freshAtNs: bigint };
  /** The folder's fingerprint that was last looked at. */
  seen?: string;
  lastProblem?: string;
}

/**
 * Keeps the lists that decisions are made with. The stream `list-<id>` says which version is active, the archive has its
 * bytes, the folder only proposes: so a restart with an emptied folder goes on with the last good version, a refused file
 * changes nothing, and several processes agree.
 *
 * Freshness: a version is fresh when it was loaded, and again whenever the folder holds the same bytes with a newer time of
 * writing, which is what a fetcher that found no change leaves behind.
 *
 * Crash windows: before the commit of an accepted version nothing has happened, and the next poll proposes it again; after
 * the commit the next start reads it from stream and archive.
 */
export class ListRegistry {
  private readonly lists = new Map<string, KnownList>();
  private polled = false;
  private readAtMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: ListRegistryOptions) {}

  /** Monotonic time at which the last complete reading of the record of all lists began. */
  get recordReadAtMs(): number {
    return this.readAtMs;
  }

  /** The active version of every list, or why there is no complete set. */
  usable(): UsableLists {
    const { clock, maxAgeMs, required } = this.options;
    if (!this.polled) return { ok: false, why: 'the lists are still being loaded' };
    const wanted = required.length > 0 ? required : [...this.lists.keys()];
    if (wanted.length === 0) return { ok: false, why: 'no list: put the files of one into the folder LISTS_DIR' };
    const lists: ActiveList[] = [];
    const nowNs = clock.nowNs();
    for (const listId of wanted) {
      const known = this.lists.get(listId);
      if (known?.active === undefined) {
        const problem = known?.lastProblem === undefined ? 'no version was ever loaded' : `no usable version: ${known.lastProblem}`;
        return { ok: false, why: `list ${listId}: ${problem}` };
      }
      if (nowNs - known.active.freshAtNs > msToNs(maxAgeMs)) {
        const since = toRfc3339(known.active.freshAtNs);
        return { ok: false, why: `list ${listId} is stale: ${known.active.list.label} was last fetched at ${since}; fetch it again` };
      }
      lists.push(known.active.list);
    }
    return { ok: true, lists };
  }

  /** One look at stream and folder. Throws operational errors; what was active stays active. Never called twice at once. */
  async poll(): Promise<void> {
    const folders = new Map<string, FolderList>();
    let unreadable: Error | undefined;
    try {
      for (const list of await this.options.folder.scan()) folders.set(list.listId, list);
    } catch (error) {
      // The archive may still have a last good version: load that first, then say what is wrong with the folder.
      unreadable = error instanceof Error ? error : new Error(String(error));
    }
    const readAtMs = this.options.clock.monotonicMs();
    // Each time: a list that another process has seen first (a ConfigMap reaches nodes up to a minute apart) binds this one as well.
    for (const listId of await this.options.archive.listIds()) this.known(listId);
    for (const listId of folders.keys()) this.known(listId);
    for (const known of this.lists.values()) await this.catchUp(known);
    this.readAtMs = readAtMs;
    for (const known of this.lists.values()) {
      const folder = folders.get(known.listId);
      if (folder !== undefined && folder.fingerprint !== known.seen) await this.propose(known, folder);
    }
    this.polled = true;
    if (unreadable !== undefined) throw unreadable;
  }

  private known(listId: string): KnownList {
    const existing = this.lists.get(listId);
    if (existing !== undefined) return existing;
    const created: KnownList = { listId, state: listDecider.initialState, version: 0n };
    this.lists.set(listId, created);
    return created;
  }

  /** What this or another process has recorded since. */
  private async catchUp(known: KnownList): Promise<void> {
    const recorded = await this.options.store.readStream(listStream(known.listId), known.version);
    const last = recorded.at(-1);
    if (last === undefined) return;
    const state = fold(listDecider, recorded.map((event) => screeningCodec.decode(event) as ListEvent), known.state);
    const next = state.active;
    if (next !== undefined && next.sha256 !== known.state.active?.sha256) {
      const files = await this.options.archive.files(known.listId, next.sha256);
      this.activate(known, next, parseList(files));
    }
    known.state = state;
    known.version = last.streamVersion;
  }

  private async propose(known: KnownList, folder: FolderList): Promise<void> {
    const { clock, limits, log, metrics } = this.options;
    const { listId } = known;
    const read = await folder.read();
    if (read === undefined) return;
    const sha256 = listDigest(read.files);
    if (known.state.active?.sha256 === sha256 && known.active !== undefined) {
      const nowNs = clock.nowNs();
      const writtenAtNs = folder.writtenAtNs > nowNs ? nowNs : folder.writtenAtNs;
      if (writtenAtNs > known.active.freshAtNs) known.active.freshAtNs = writtenAtNs;
      metrics.listFresh(listId, known.active.freshAtNs);
      known.seen = folder.fingerprint;
      delete known.lastProblem;
      return;
    }

    const parsed = parseList(read.files);
    const version = read.version ?? sha256.slice(0, 12);
    const candidate: Candidate = parsed.ok ? { ok: true, version, shape: shapeOf(parsed.content) } : parsed;
    const decision = listDecider.decide(
      {
        type: 'OfferVersion',
        listId,
        sha256,
        writtenAtNs: folder.writtenAtNs as UnixNs,
        candidate,
        ...(known.active === undefined ? {} : { active: known.active.shape }),
        limits,
        nowNs: clock.nowNs(),
      },
      known.state,
    );
    if (decision.kind === 'rejected') {
      log.warn({ listId, sha256, active: decision.rejection.activeSha256 }, 'the folder holds an older version of the list; it is not taken');
      known.seen = folder.fingerprint;
      return;
    }
    const [event] = decision.events;
    if (event === undefined) {
      known.seen = folder.fingerprint;
      return;
    }
    const appended = await this.record(known, event, parsed, read.files);
    // Another process was first: its event is read with the next poll, and this folder is judged anew then.
    if (!appended) return;
    known.seen = folder.fingerprint;
    known.state = listDecider.evolve(known.state, event);
    known.version += 1n;
    if (event.type === 'ListVersionRefused') {
      known.lastProblem = `${event.reason}: ${event.detail}`;
      metrics.listRefused(listId, event.reason);
      const active = known.active?.list.label ?? 'none';
      log.error({ listId, sha256, reason: event.reason, detail: event.detail, active }, 'a list version was refused; the last good one stays active');
      return;
    }
    this.activate(known, event, parsed);
    log.info({ listId, version: event.version, sha256, entries: Number(event.entries) }, 'a list version is active');
    const unsound = parsed.ok ? parsed.content.counts.unsoundAddresses : 0;
    if (unsound > 0) log.warn({ listId, version: event.version, unsound }, 'addresses of the list have a wrong checksum and can match nobody');
  }

  private async record(known: KnownList, event: ListEvent, parsed: ParsedList, files: readonly ListFile[]): Promise<boolean> {
    const { store, archive } = this.options;
    const streamId = listStream(known.listId);
    const expectedVersion = known.version === 0n ? 'must-not-exist' : known.version;
    const append = {
      streamId,
      expectedVersion,
      commandId: `offer:${event.sha256}:${known.version}`,
      events: [screeningCodec.encode(event)],
    } as const;
    try {
      await store.transact(store.partitionOf(streamId), async (tx) => {
        if (event.type === 'ListVersionLoaded' && parsed.ok) {
          const { listId, version, sha256, loadedAtNs } = event;
          await archive.keep(tx, { listId, version, sha256, loadedAtNs, shape: shapeOf(parsed.content) }, files);
        }
        const [result] = await tx.append([append]);
        if (result?.outcome !== 'appended') throw new OvertakenByOther();
      });
      return true;
    } catch (error) {
      if (error instanceof OvertakenByOther) return false;
      throw error;
    }
  }

  private activate(known: KnownList, active: { readonly version: string; readonly sha256: string; readonly loadedAtNs: bigint }, parsed: ParsedList): void {
    const { listId } = known;
    if (!parsed.ok) {
      // Accepted once and archived, but this build's parser refuses it: keep what was active and say so.
      known.lastProblem = `the archived version ${active.sha256} cannot be read: ${parsed.detail}`;
      this.options.log.error({ listId, sha256: active.sha256, detail: parsed.detail }, 'an archived list version cannot be read');
      return;
    }
    const label = `${listId}@${active.version}#sha256:${active.sha256}`;
    known.active = {
      list: { listId, label, index: indexList(parsed.content) },
      shape: shapeOf(parsed.content),
      freshAtNs: active.loadedAtNs,
    };
    delete known.lastProblem;
    this.options.metrics.listLoaded(listId, parsed.content.counts.entries);
    this.options.metrics.listFresh(listId, active.loadedAtNs);
  }
}

/** Rolls the archive's rows back; never leaves this file. */
class OvertakenByOther extends Error {
  override readonly name = 'OvertakenByOther';
}

export function shapeOf({ counts, fileNames, endMarked }: ListContent): ListShape {
  return { counts, fileNames, endMarked };
}

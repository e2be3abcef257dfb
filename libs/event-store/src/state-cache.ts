/** A decided stream's state as of a version that this process has seen committed. */
export interface CachedState<State> {
  readonly state: State;
  /** 0n: the stream does not exist. */
  readonly version: bigint;
}

/** Least recently used states by stream. Never trusted: an append checks the version, and a conflict drops the entry. */
export class StateCache<State> {
  private readonly entries = new Map<string, CachedState<State>>();

  constructor(private readonly entriesMax: number) {}

  get(streamId: string): CachedState<State> | undefined {
    const entry = this.entries.get(streamId);
    if (entry === undefined) return undefined;
    // A Map iterates in order of insertion: whoever was used last moves to the end.
    this.entries.delete(streamId);
    this.entries.set(streamId, entry);
    return entry;
  }

  set(streamId: string, entry: CachedState<State>): void {
    this.entries.delete(streamId);
    this.entries.set(streamId, entry);
    if (this.entries.size <= this.entriesMax) return;
    const [oldest] = this.entries.keys();
    if (oldest !== undefined) this.entries.delete(oldest);
  }

  drop(streamId: string): void {
    this.entries.delete(streamId);
  }
}

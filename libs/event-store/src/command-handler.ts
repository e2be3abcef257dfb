import { fold, type Decider, type Rejection } from '@settlement/kernel/decider';
import { OperationalError } from '@settlement/kernel/errors';
import type { EventCodec, RecordedEvent } from './event';
import type { Append, AppendResult, EventStore, Transaction } from './port';
import { StateCache, type CachedState } from './state-cache';

export interface CommandHandlerOptions<Id, Command, Event extends { readonly type: string }, State, R extends Rejection> {
  readonly decider: Decider<Command, Event, State, R>;
  readonly codec: EventCodec<Event>;
  readonly store: EventStore;
  /** The stream of an aggregate, such as `payment-<id>`. */
  streamOf(id: Id): string;
  /** States kept in memory, default 10,000. 0 reads the stream for every command. */
  readonly cachedStatesMax?: number;
  /** How often a command is decided anew after a conflict, default 16. */
  readonly triesMax?: number;
}

export type Handled<Event, R extends Rejection> =
  | {
      readonly kind: 'accepted';
      /** What this command recorded; empty when it was already true. For a repeat: what its first run recorded. */
      readonly events: readonly Event[];
      /** The stream's version after the command's events. */
      readonly version: bigint;
      /** The command had been handled before; nothing was recorded now. */
      readonly repeated: boolean;
    }
  | { readonly kind: 'rejected'; readonly rejection: R };

export interface CommandContext {
  readonly traceparent?: string;
}

export interface CommandItem<Id, Command> extends CommandContext {
  readonly id: Id;
  readonly commandId: string;
  readonly command: Command;
}

export interface CommandHandler<Id, Command, Event extends { readonly type: string }, State, R extends Rejection> {
  /**
   * Loads, decides and appends, anew after each conflict. Accepted means durable and replicated, also when nothing was left to
   * record. Throws what `EventStore.append` throws, and `OperationalError('CONTENTION')` when the tries are used up.
   */
  handle(id: Id, commandId: string, command: Command, context?: CommandContext): Promise<Handled<Event, R>>;
  /**
   * Many commands with one read and one append per round, answered in order. Commands of one stream are decided in order, each
   * on the outcome of the one before. Each is atomic by itself, not all together.
   */
  handleMany(items: readonly CommandItem<Id, Command>[]): Promise<readonly Handled<Event, R>[]>;
  /** The state as committed, never from the cache. `version` 0n: the stream does not exist. */
  load(id: Id): Promise<CachedState<State>>;
  /** Many states in one query per database, in order. */
  loadMany(ids: readonly Id[]): Promise<readonly CachedState<State>[]>;
  /**
   * Decides and appends inside a caller's transaction, together with its effects. Throws `OperationalError('CONTENTION')` on a
   * conflict, which rolls the transaction back; run it again.
   */
  handleIn(tx: Transaction, items: readonly CommandItem<Id, Command>[]): Promise<readonly Handled<Event, R>[]>;
}

/** The shell around a decider: reads, decides, appends and tries again on conflict. */
export function commandHandler<Id, Command, Event extends { readonly type: string }, State, R extends Rejection>(
  options: CommandHandlerOptions<Id, Command, Event, State, R>,
): CommandHandler<Id, Command, Event, State, R> {
  const { decider, codec, store } = options;
  const cachedStatesMax = options.cachedStatesMax ?? 10_000;
  const triesMax = options.triesMax ?? 16;
  const cache = new StateCache<State>(cachedStatesMax);

  type Item = CommandItem<Id, Command>;
  type Answer = Handled<Event, R>;
  /** A stream while a round works on it. */
  interface Desk extends CachedState<State> {
    /** From memory: an append proves it, a rejection does not. */
    readonly remembered: boolean;
    /** The commands known to have been recorded; complete only when not remembered. */
    readonly commandIds: ReadonlySet<string>;
    /** An earlier command of this round has been decided on it, so that what follows stands or falls with that one. */
    readonly chained: boolean;
  }

  const decode = (events: readonly RecordedEvent[]): Event[] => events.map((event) => codec.decode(event));
  const stateOf = (events: readonly RecordedEvent[]): CachedState<State> => ({ state: fold(decider, decode(events)), version: events.at(-1)?.streamVersion ?? 0n });

  async function desksOf(streams: readonly string[], useCache: boolean): Promise<Map<string, Desk>> {
    const desks = new Map<string, Desk>();
    const missing: string[] = [];
    for (const stream of new Set(streams)) {
      const cached = useCache ? cache.get(stream) : undefined;
      if (cached === undefined) missing.push(stream);
      else desks.set(stream, { ...cached, remembered: true, commandIds: new Set(), chained: false });
    }
    if (missing.length === 0) return desks;
    const read = await store.readStreams(missing);
    for (const stream of missing) {
      const events = read.get(stream) ?? [];
      const state = stateOf(events);
      desks.set(stream, { ...state, remembered: false, commandIds: new Set(events.map((event) => event.commandId)), chained: false });
      if (useCache) cache.set(stream, state);
    }
    return desks;
  }

  /** Decides one command on its desk and leaves there what holds if its append succeeds. */
  function decideOn(desks: Map<string, Desk>, stream: string, item: Item): { readonly answer: Answer; readonly append?: Append; readonly remembered: boolean } {
    const desk = desks.get(stream) ?? { state: decider.initialState, version: 0n, remembered: false, commandIds: new Set<string>(), chained: false };
    const base = { streamId: stream, commandId: item.commandId, ...(item.traceparent === undefined ? {} : { traceparent: item.traceparent }), ...(desk.chained ? { chained: true } : {}) };
    const { remembered } = desk;
    if (desk.commandIds.has(item.commandId)) {
      // A repeat, whatever the decider would say today. Its answer, too, waits for a replicated write of its own.
      const { version } = desk;
      return { answer: { kind: 'accepted', events: [], version, repeated: true }, append: { ...base, expectedVersion: 'any', events: [] }, remembered };
    }
    const decision = decider.decide(item.command, desk.state);
    if (decision.kind === 'rejected') return { answer: decision, remembered };
    const { events } = decision;
    const version = desk.version + BigInt(events.length);
    const append: Append = { ...base, expectedVersion: desk.version === 0n ? 'must-not-exist' : desk.version, events: events.map((event) => codec.encode(event)) };
    desks.set(stream, {
      state: fold(decider, events, desk.state),
      version,
      remembered,
      commandIds: events.length === 0 ? desk.commandIds : new Set(desk.commandIds).add(item.commandId),
      chained: true,
    });
    return { answer: { kind: 'accepted', events, version, repeated: false }, append, remembered };
  }

  /** What the first run of a repeated command recorded. It was accepted: a rejection leaves nothing that could be repeated. */
  async function firstAnswer(streamId: string, commandId: string, version: bigint): Promise<Answer> {
    const recorded = (await store.readStream(streamId)).filter((event) => event.commandId === commandId);
    return { kind: 'accepted', events: decode(recorded), version, repeated: true };
  }

  /** One round over the open items. An item without an answer afterwards is decided again, on what is then committed. */
  async function round(
    open: readonly { readonly index: number; readonly item: Item }[],
    desks: Map<string, Desk>,
    write: (appends: readonly Append[]) => Promise<readonly AppendResult[]>,
  ): Promise<Map<number, Answer>> {
    const decided = open.map(({ index, item }) => {
      const stream = options.streamOf(item.id);
      return { index, item, stream, ...decideOn(desks, stream, item) };
    });
    const appends = decided.flatMap(({ append }) => append ?? []);
    let results: readonly AppendResult[];
    try {
      results = appends.length === 0 ? [] : await write(appends);
    } catch (error) {
      // Refused or unknown: what was decided on may have changed, and only the log knows.
      for (const { stream } of decided) cache.drop(stream);
      throw error;
    }
    const answers = new Map<number, Answer>();
    /** Streams that are not as their desk hoped. */
    const disproved = new Set<string>();
    /** Streams whose desk was confirmed by an append in this round. */
    const confirmed = new Set<string>();
    let at = 0;
    for (const { index, item, stream, answer, append, remembered } of decided) {
      if (append === undefined) {
        // Nothing was written for a rejection, so nothing has checked the state behind it: it stands only on a state that was
        // read for this round or that an append of this round has confirmed.
        if (!disproved.has(stream) && (!remembered || confirmed.has(stream))) answers.set(index, answer);
        else disproved.add(stream);
        continue;
      }
      const result = results[at];
      at += 1;
      if (result === undefined || result.outcome === 'conflict') {
        disproved.add(stream);
      } else if (result.outcome === 'repeated') {
        disproved.add(stream);
        answers.set(index, await firstAnswer(stream, item.commandId, result.streamVersion));
      } else {
        confirmed.add(stream);
        answers.set(index, answer);
      }
    }
    for (const { stream } of decided) {
      const desk = desks.get(stream);
      if (disproved.has(stream) || desk === undefined) cache.drop(stream);
      else if (confirmed.has(stream)) cache.set(stream, { state: desk.state, version: desk.version });
    }
    return answers;
  }

  async function handleAll(items: readonly Item[]): Promise<readonly Answer[]> {
    const answers = new Map<number, Answer>();
    let open = items.map((item, index) => ({ index, item }));
    for (let attempt = 1; open.length > 0; attempt += 1) {
      if (attempt > triesMax) throw new OperationalError('CONTENTION', `others changed the stream ${triesMax} times in a row`, 'not-done');
      const desks = await desksOf(open.map(({ item }) => options.streamOf(item.id)), true);
      for (const [index, answer] of await round(open, desks, (appends) => store.appendMany(appends))) answers.set(index, answer);
      open = open.filter(({ index }) => !answers.has(index));
    }
    return items.flatMap((_, index) => answers.get(index) ?? []);
  }

  // Callers of one stream would only meet each other's conflicts. They wait for the round in flight instead, and then go
  // together: 64 reservations on one budget take two or three commits, not 64.
  interface Caller {
    readonly item: Item;
    readonly resolve: (answer: Answer) => void;
    readonly reject: (error: unknown) => void;
  }
  const waiting = new Map<string, Caller[]>();

  async function serve(stream: string): Promise<void> {
    for (let callers = waiting.get(stream) ?? []; callers.length > 0; callers = waiting.get(stream) ?? []) {
      waiting.set(stream, []);
      try {
        const answers = await handleAll(callers.map(({ item }) => item));
        callers.forEach((caller, i) => {
          const answer = answers[i];
          if (answer !== undefined) caller.resolve(answer);
        });
      } catch (error) {
        if (callers.length === 1 || error instanceof OperationalError) {
          for (const caller of callers) caller.reject(error);
        } else {
          // A decider that stops on one caller's command must not stop the others'.
          for (const caller of callers) await handleAll([caller.item]).then(([answer]) => answer !== undefined && caller.resolve(answer), caller.reject);
        }
      }
    }
    waiting.delete(stream);
  }

  return {
    handle(id, commandId, command, context = {}) {
      return new Promise((resolve, reject) => {
        const caller = { item: { id, commandId, command, ...context }, resolve, reject };
        const stream = options.streamOf(id);
        const others = waiting.get(stream);
        if (others !== undefined) {
          others.push(caller);
          return;
        }
        waiting.set(stream, [caller]);
        void serve(stream);
      });
    },
    handleMany: handleAll,
    async load(id) {
      return stateOf(await store.readStream(options.streamOf(id)));
    },
    async loadMany(ids) {
      const read = await store.readStreams(ids.map((id) => options.streamOf(id)));
      return ids.map((id) => stateOf(read.get(options.streamOf(id)) ?? []));
    },
    async handleIn(tx, items) {
      const streams = items.map((item) => options.streamOf(item.id));
      const desks = await desksOf(streams, false);
      const answers = await round(items.map((item, index) => ({ index, item })), desks, (appends) => tx.append(appends));
      // The transaction has not committed yet: nothing of it may be trusted from memory.
      for (const stream of streams) cache.drop(stream);
      if (answers.size < items.length) throw new OperationalError('CONTENTION', 'another writer changed the stream; run the transaction again', 'not-done');
      return items.flatMap((_, index) => answers.get(index) ?? []);
    },
  };
}

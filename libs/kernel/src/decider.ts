/**
 * The pure core of an aggregate: `decide` answers a command with events or a rejection, `evolve` folds events into state.
 * Neither reads a clock, draws randomness, awaits or does IO; time, ids and looked-up facts arrive in the command.
 */
export interface Decider<Command, Event, State, R extends Rejection> {
  readonly initialState: State;
  decide(command: Command, state: State): Decision<Event, R>;
  evolve(state: State, event: Event): State;
}

/** The business says no. `code` is SCREAMING_SNAKE; other fields are the facts that led to it. */
export interface Rejection {
  readonly code: string;
}

export type Decision<Event, R extends Rejection> =
  | { readonly kind: 'accepted'; readonly events: readonly Event[] }
  | { readonly kind: 'rejected'; readonly rejection: R };

/** Without events: *already true*, nothing to record. */
export function accept<Event>(...events: readonly Event[]): Decision<Event, never> {
  return { kind: 'accepted', events };
}

export function reject<R extends Rejection>(rejection: R): Decision<never, R> {
  return { kind: 'rejected', rejection };
}

/** State after the events, in order. */
export function fold<Event, State>(
  decider: { readonly initialState: State; evolve(state: State, event: Event): State },
  events: Iterable<Event>,
  from: State = decider.initialState,
): State {
  let state = from;
  for (const event of events) state = decider.evolve(state, event);
  return state;
}

import { deepStrictEqual } from 'node:assert/strict';
import { fold, type Decider, type Decision, type Rejection } from '@settlement/kernel/decider';

export interface Given<Command, Event, State, R extends Rejection> {
  /** More history. */
  and(...events: readonly Event[]): Given<Command, Event, State, R>;
  when(command: Command): Outcome<Event, State, R>;
}

export interface Outcome<Event, State, R extends Rejection> {
  /** Exactly these events, in this order. */
  then(...events: readonly Event[]): void;
  /** Accepted, and nothing to record: it was already true. */
  thenNothing(): void;
  thenRejected(rejection: R): void;
  /** The state after the decision; for what events alone do not show. */
  thenState(check: (state: State) => void): void;
}

/** A decider's behaviour in three lines: `given(decider, ...history).when(command).then(...events)`. */
export function given<Command, Event, State, R extends Rejection>(decider: Decider<Command, Event, State, R>, ...history: readonly Event[]): Given<Command, Event, State, R> {
  return {
    and: (...events) => given(decider, ...history, ...events),
    when(command) {
      const before = fold(decider, history);
      const decision = decider.decide(command, before);
      return {
        then: (...events) => same(decision, { kind: 'accepted', events }),
        thenNothing: () => same(decision, { kind: 'accepted', events: [] }),
        thenRejected: (rejection) => same(decision, { kind: 'rejected', rejection }),
        thenState: (check) => check(decision.kind === 'accepted' ? fold(decider, decision.events, before) : before),
      };
    },
  };
}

function same<Event, R extends Rejection>(actual: Decision<Event, R>, expected: Decision<Event, R>): void {
  deepStrictEqual(actual, expected);
}

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accept, fold, reject, type Decider } from './decider';

type Seat = { readonly type: 'SeatTaken'; readonly by: string } | { readonly type: 'SeatLeft'; readonly by: string };
type Taken = { readonly by: string | undefined; readonly history: readonly string[] };

/** One seat: enough to show the three answers that a decider has. */
const seat: Decider<{ readonly type: 'TakeSeat'; readonly by: string }, Seat, Taken, { readonly code: 'SEAT_TAKEN'; readonly by: string }> = {
  initialState: { by: undefined, history: [] },
  decide(command, state) {
    if (state.by === command.by) return accept();
    if (state.by !== undefined) return reject({ code: 'SEAT_TAKEN', by: state.by });
    return accept({ type: 'SeatTaken', by: command.by });
  },
  evolve(state, event) {
    return { by: event.type === 'SeatTaken' ? event.by : undefined, history: [...state.history, `${event.type} ${event.by}`] };
  },
};

const event: fc.Arbitrary<Seat> = fc.record({ type: fc.constantFrom('SeatTaken', 'SeatLeft'), by: fc.constantFrom('ann', 'bob') });

describe('a decider', () => {
  it('accepts with events, accepts without events what is already true, and rejects with facts', () => {
    expect(seat.decide({ type: 'TakeSeat', by: 'ann' }, seat.initialState)).toEqual({ kind: 'accepted', events: [{ type: 'SeatTaken', by: 'ann' }] });
    const taken = fold(seat, [{ type: 'SeatTaken', by: 'ann' }]);
    expect(seat.decide({ type: 'TakeSeat', by: 'ann' }, taken)).toEqual({ kind: 'accepted', events: [] });
    expect(seat.decide({ type: 'TakeSeat', by: 'bob' }, taken)).toEqual({ kind: 'rejected', rejection: { code: 'SEAT_TAKEN', by: 'ann' } });
  });
});

describe('fold', () => {
  it('of nothing is the initial state', () => {
    expect(fold(seat, [])).toBe(seat.initialState);
  });

  it('applies events in their order', () => {
    expect(fold(seat, [{ type: 'SeatTaken', by: 'ann' }, { type: 'SeatLeft', by: 'ann' }, { type: 'SeatTaken', by: 'bob' }])).toEqual({
      by: 'bob',
      history: ['SeatTaken ann', 'SeatLeft ann', 'SeatTaken bob'],
    });
  });

  // What a snapshot or a state cache relies on.
  it('may stop anywhere and go on from there', () => {
    fc.assert(
      fc.property(fc.array(event), fc.nat(), (events, cut) => {
        const at = events.length === 0 ? 0 : cut % (events.length + 1);
        expect(fold(seat, events.slice(at), fold(seat, events.slice(0, at)))).toEqual(fold(seat, events));
      }),
    );
  });
});

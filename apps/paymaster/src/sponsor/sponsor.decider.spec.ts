import type { ChainId } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  availableOf,
  reserveAnswer,
  sponsorDecider,
  type RecordedReservation,
  type SponsorCommand,
  type SponsorState,
} from './sponsor.decider';
import type { SponsorEvent } from './sponsor.events';

const sponsorId = 'acme' as SponsorId;
const chainId = 'eip155:31337' as ChainId;
const nowNs = 1_700_000_000_000_000_000n as UnixNs;
const wei = (n: bigint): Wei => n as Wei;
const rsv = (id: string): ReservationId => id as ReservationId;

const budgetSet = (budget: bigint): SponsorEvent => ({ type: 'SponsorBudgetSet', sponsorId, budget: wei(budget), setAtNs: nowNs });
const reserved = (...items: [string, bigint][]): SponsorEvent => ({
  type: 'GasReserved',
  sponsorId,
  chainId,
  items: items.map(([id, amount]) => ({ reservationId: rsv(id), subjectId: `pay-${id}`, amount: wei(amount) })),
  reservedAtNs: nowNs,
});
const recorded = (id: string, amount: bigint, state: RecordedReservation['state'] = 'reserved'): RecordedReservation => ({
  chainId,
  subjectId: `pay-${id}`,
  amount: wei(amount),
  state,
});
const reserve = (...items: [string, bigint, RecordedReservation?][]): SponsorCommand => ({
  type: 'ReserveGas',
  sponsorId,
  chainId,
  items: items.map(([id, amount, record]) => ({
    reservationId: rsv(id),
    subjectId: `pay-${id}`,
    amount: wei(amount),
    ...(record === undefined ? {} : { recorded: record }),
  })),
  nowNs,
});
const commit = (id: string, cost: bigint, record?: RecordedReservation): SponsorCommand => ({
  type: 'CommitGas',
  sponsorId,
  items: [
    { reservationId: rsv(id), cost: wei(cost), transactionHash: '0xaa', ...(record === undefined ? {} : { recorded: record }) },
  ],
  nowNs,
});

const decide = (command: SponsorCommand, ...given: SponsorEvent[]) =>
  sponsorDecider.decide(command, fold(sponsorDecider, given));
const after = (command: SponsorCommand, ...given: SponsorEvent[]): SponsorState => {
  const decision = decide(command, ...given);
  if (decision.kind === 'rejected') throw new Error(decision.rejection.code);
  return fold(sponsorDecider, [...given, ...decision.events]);
};

describe('sponsor budget', () => {
  it('refuses an unknown sponsor', () => {
    expect(decide(reserve(['a', 1n]))).toEqual({ kind: 'rejected', rejection: { code: 'UNKNOWN_SPONSOR' } });
  });

  it('reserves up to the last wei', () => {
    expect(availableOf(after(reserve(['a', 60n], ['b', 40n]), budgetSet(100n)))).toBe(0n);
  });

  it('reserves what fits and leaves out what does not', () => {
    expect(decide(reserve(['a', 60n], ['b', 50n], ['c', 40n]), budgetSet(100n))).toEqual({
      kind: 'accepted',
      events: [reserved(['a', 60n], ['c', 40n])],
    });
  });

  it('does not reserve a repeated id again', () => {
    const given = [budgetSet(100n), reserved(['a', 60n])];
    expect(decide(reserve(['a', 60n, recorded('a', 60n)]), ...given)).toEqual({ kind: 'accepted', events: [] });
  });

  it('answers a repetition as recorded, also after the reservation has ended', () => {
    for (const state of ['reserved', 'released', 'committed'] as const) {
      const item = { reservationId: rsv('a'), subjectId: 'pay-a', amount: wei(60n), recorded: recorded('a', 60n, state) };
      expect(reserveAnswer(item, chainId, new Set())).toEqual({ outcome: 'reserved', reserved: 60n });
    }
  });

  it('refuses a reservation id whose amount, subject or chain changed', () => {
    const changed = { outcome: 'refused', reason: 'RESERVATION_CHANGED' };
    const item = { reservationId: rsv('a'), subjectId: 'pay-a', amount: wei(60n), recorded: recorded('a', 60n) };
    expect(reserveAnswer({ ...item, amount: wei(61n) }, chainId, new Set())).toEqual({ ...changed, recorded: 60n });
    expect(reserveAnswer({ ...item, subjectId: 'pay-z' }, chainId, new Set())).toEqual(changed);
    expect(reserveAnswer(item, 'eip155:1' as ChainId, new Set())).toEqual(changed);
  });

  it('charges the actual cost and gives the rest of the reservation back', () => {
    expect(after(commit('a', 25n, recorded('a', 60n)), budgetSet(100n), reserved(['a', 60n]))).toMatchObject({
      reserved: 0n,
      spent: 25n,
      overrun: 0n,
    });
  });

  it('charges a cost only once', () => {
    expect(decide(commit('a', 25n, recorded('a', 60n, 'committed')), budgetSet(100n))).toEqual({ kind: 'accepted', events: [] });
  });

  it('does not invent a reservation for a cost that it does not know', () => {
    expect(decide(commit('a', 25n), budgetSet(100n))).toEqual({ kind: 'accepted', events: [] });
  });

  it('charges a late cost of a released reservation against the free budget', () => {
    expect(after(commit('a', 25n, recorded('a', 60n, 'released')), budgetSet(100n))).toMatchObject({ reserved: 0n, spent: 25n });
  });

  it('records a cost above its reservation in full, and charges the sponsor no more than its budget', () => {
    const given = [budgetSet(100n), reserved(['a', 60n], ['b', 30n])];
    const decision = decide(commit('a', 90n, recorded('a', 60n)), ...given);
    expect(decision).toMatchObject({ events: [{ type: 'GasCommitted', items: [{ reserved: 60n, cost: 90n }] }] });
    expect(after(commit('a', 90n, recorded('a', 60n)), ...given)).toMatchObject({ reserved: 30n, spent: 70n, overrun: 20n });
  });

  it('does not set a budget below what is reserved and spent', () => {
    const command: SponsorCommand = { type: 'SetBudget', sponsorId, budget: wei(59n), alreadyApplied: false, nowNs };
    expect(decide(command, budgetSet(100n), reserved(['a', 60n]))).toEqual({
      kind: 'rejected',
      rejection: { code: 'BUDGET_BELOW_COMMITMENTS', reserved: 60n, spent: 0n },
    });
  });

  it('ignores a repeated budget change, even when the budget has changed since', () => {
    const command: SponsorCommand = { type: 'SetBudget', sponsorId, budget: wei(10n), alreadyApplied: true, nowNs };
    expect(decide(command, budgetSet(10n), budgetSet(500n))).toEqual({ kind: 'accepted', events: [] });
  });

  it('stops on a stream that overdraws its budget (I8)', () => {
    expect(() => fold(sponsorDecider, [budgetSet(100n), reserved(['a', 101n])])).toThrow(/I8/);
  });

  it('never has more reserved and spent than its budget, whatever is asked, and its sums are those of the reservations', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('reserve' as const), ids: fc.uniqueArray(fc.nat(30), { minLength: 1, maxLength: 5 }), amount: fc.bigInt(0n, 60n) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), ids: fc.uniqueArray(fc.nat(30), { minLength: 1, maxLength: 5 }) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('commit' as const), ids: fc.uniqueArray(fc.nat(30), { minLength: 1, maxLength: 5 }), amount: fc.bigInt(0n, 90n) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('budget' as const), amount: fc.bigInt(0n, 400n) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        // The book that the look-up would answer from, kept by hand beside the decider.
        const book = new Map<string, RecordedReservation>();
        let state = fold(sponsorDecider, [budgetSet(200n)]);
        const look = (id: string): { recorded?: RecordedReservation } => {
          const found = book.get(id);
          return found === undefined ? {} : { recorded: found };
        };
        const commandOf = (s: (typeof steps)[number]): SponsorCommand => {
          switch (s.kind) {
            case 'reserve':
              return { type: 'ReserveGas', sponsorId, chainId, nowNs, items: s.ids.map((n) => ({ reservationId: rsv(`r${n}`), subjectId: `pay-r${n}`, amount: wei(s.amount), ...look(`r${n}`) })) };
            case 'release':
              return { type: 'ReleaseGas', sponsorId, nowNs, items: s.ids.map((n) => ({ reservationId: rsv(`r${n}`), ...look(`r${n}`) })) };
            case 'commit':
              return { type: 'CommitGas', sponsorId, nowNs, items: s.ids.map((n) => ({ reservationId: rsv(`r${n}`), cost: wei(s.amount), transactionHash: '0xaa', ...look(`r${n}`) })) };
            case 'budget':
              return { type: 'SetBudget', sponsorId, budget: wei(s.amount), alreadyApplied: false, nowNs };
          }
        };
        for (const s of steps) {
          const decision = sponsorDecider.decide(commandOf(s), state);
          if (decision.kind === 'rejected') continue;
          state = fold(sponsorDecider, decision.events, state);
          for (const event of decision.events) {
            if (event.type === 'GasReserved') for (const i of event.items) book.set(i.reservationId, recorded(i.reservationId, i.amount));
            if (event.type === 'GasReleased') for (const i of event.items) book.set(i.reservationId, recorded(i.reservationId, i.amount, 'released'));
            if (event.type === 'GasCommitted') {
              for (const i of event.items) {
                const before = book.get(i.reservationId);
                book.set(i.reservationId, { ...recorded(i.reservationId, before?.amount ?? 0n, 'committed'), cost: i.cost });
              }
            }
          }
          const all = [...book.values()];
          const open = all.filter((r) => r.state === 'reserved').reduce((t, r) => t + r.amount, 0n);
          const cost = all.reduce((t, r) => t + (r.cost ?? 0n), 0n);
          expect(state.reserved + state.spent <= state.budget).toBe(true);
          expect(state.reserved).toBe(open);
          expect(state.spent + state.overrun).toBe(cost);
        }
      }),
      { numRuns: 300 },
    );
  });
});

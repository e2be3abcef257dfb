import type { ChainId } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sponsorDecider, type RecordedReservation } from './sponsor.decider';
import { COMMAND_ITEMS_MAX, decideGroup, type SponsorRequest } from './sponsor-group.policy';

const sponsorId = 'acme' as SponsorId;
const nowNs = 1n as UnixNs;
const wei = (amount: bigint): Wei => amount as Wei;
const opened = { state: fold(sponsorDecider, [{ type: 'SponsorBudgetSet', sponsorId, budget: wei(100n), setAtNs: nowNs }]), version: 1n };
const reserve = (id: string, amount: bigint, chainId = 'eip155:1'): SponsorRequest => ({ kind: 'reserve', items: [{ reservationId: id as ReservationId, chainId: chainId as ChainId, subjectId: `pay-${id}`, amount: wei(amount) }] });
const release = (id: string): SponsorRequest => ({ kind: 'release', reservationIds: [id as ReservationId] });
const commit = (id: string, cost: bigint): SponsorRequest => ({ kind: 'commit', items: [{ reservationId: id as ReservationId, cost: wei(cost), transactionHash: '0xaa' }] });
const decide = (...requests: SponsorRequest[]) => decideGroup(sponsorId, opened, new Map(), requests, nowNs);

describe('group of requests', () => {
  it('makes one event of all neighbours that reserve on one chain', () => {
    const { appends, state } = decide(...Array.from({ length: 64 }, (_, i) => reserve(`r${i}`, 1n)));
    expect(appends).toHaveLength(1);
    expect(appends[0]?.events).toHaveLength(1);
    expect(state.reserved).toBe(64n);
  });
  it('makes an event for each chain', () => {
    expect(decide(reserve('a', 1n), reserve('b', 1n, 'eip155:8453')).appends[0]?.events.map((event) => event.type === 'GasReserved' && event.chainId)).toEqual(['eip155:1', 'eip155:8453']);
  });
  it('splits what would not fit into one event of the log', () => {
    const { appends, state } = decideGroup(sponsorId, opened, new Map(), Array.from({ length: 2 * COMMAND_ITEMS_MAX + 1 }, (_, i) => reserve(`r${i}`, 0n)), nowNs);
    expect(appends.flatMap(({ events }) => events).map((event) => event.type === 'GasReserved' && event.items.length)).toEqual([COMMAND_ITEMS_MAX, COMMAND_ITEMS_MAX, 1]);
    expect(state.reserved).toBe(0n);
  });
  it('appends nothing when everything is refused', () => {
    const { appends, answers } = decide(reserve('a', 101n), release('b'));
    expect(appends).toEqual([]);
    expect(answers).toEqual([{ kind: 'reserve', items: [{ outcome: 'refused', reason: 'BUDGET_EXCEEDED' }] }, { kind: 'release', items: [{ state: 'unknown' }] }]);
  });
  it('lets a release make room for the reservation behind it', () => {
    expect(decide(reserve('a', 100n), release('a'), reserve('b', 100n)).answers[2]).toEqual({ kind: 'reserve', items: [{ outcome: 'reserved', reserved: 100n }] });
  });
  it('puts a budget change under its own command id, between what came before and after', () => {
    const { appends, answers } = decide(reserve('a', 100n), { kind: 'set-budget', budget: wei(150n), commandId: 'raise', alreadyApplied: false }, reserve('b', 50n));
    expect(appends.map(({ commandId }) => commandId)).toEqual(['group:1:0', 'budget:raise', 'group:1:2']);
    expect(answers[2]).toEqual({ kind: 'reserve', items: [{ outcome: 'reserved', reserved: 50n }] });
  });
  it('applies one budget change only once when it stands twice in a group', () => {
    const change: SponsorRequest = { kind: 'set-budget', budget: wei(150n), commandId: 'raise', alreadyApplied: false };
    expect(decide(change, change).appends).toHaveLength(1);
  });

  it('answers an item by what stands behind it, not by what a later request makes of its id', () => {
    expect(decide(reserve('x', 1n), reserve('a', 100n), reserve('a', 99n)).answers.slice(1)).toEqual([
      { kind: 'reserve', items: [{ outcome: 'refused', reason: 'BUDGET_EXCEEDED' }] },
      { kind: 'reserve', items: [{ outcome: 'reserved', reserved: 99n }] },
    ]);
  });

  it('answers and ends as the same requests do one after the other', () => {
    const id = fc.nat(8).map((n) => `r${n}`);
    const request: fc.Arbitrary<SponsorRequest> = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(id, fc.bigInt(0n, 40n), fc.constantFrom('eip155:1', 'eip155:8453')).map(([i, amount, chain]) => reserve(i, amount, chain)) },
      { weight: 2, arbitrary: id.map(release) },
      { weight: 2, arbitrary: fc.tuple(id, fc.bigInt(0n, 60n)).map(([i, cost]) => commit(i, cost)) },
      { weight: 1, arbitrary: fc.tuple(fc.bigInt(0n, 300n), fc.nat(3)).map(([budget, n]): SponsorRequest => ({ kind: 'set-budget', budget: wei(budget), commandId: `c${n}`, alreadyApplied: false })) },
    );
    fc.assert(
      fc.property(fc.array(request, { maxLength: 25 }), (requests) => {
        const together = decideGroup(sponsorId, opened, new Map(), requests, nowNs);
        let state = opened.state;
        let version = opened.version;
        const recorded = new Map<ReservationId, RecordedReservation>();
        const changes = new Set<string>();
        for (const [i, one] of requests.entries()) {
          const asked = one.kind === 'set-budget' ? { ...one, alreadyApplied: changes.has(one.commandId) } : one;
          const alone = decideGroup(sponsorId, { state, version }, recorded, [asked], nowNs);
          expect(together.answers[i]).toEqual(alone.answers[0]);
          state = alone.state;
          for (const change of alone.budgetChanges) changes.add(change);
          for (const event of alone.appends.flatMap(({ events }) => events)) {
            version += 1n;
            if (event.type === 'GasReserved') for (const item of event.items) recorded.set(item.reservationId, { chainId: event.chainId, subjectId: item.subjectId, amount: item.amount, state: 'reserved' });
            const change = (reservationId: ReservationId, to: Partial<RecordedReservation>): void => {
              const before = recorded.get(reservationId);
              if (before !== undefined) recorded.set(reservationId, { ...before, ...to });
            };
            if (event.type === 'GasReleased') for (const item of event.items) change(item.reservationId, { state: 'released' });
            if (event.type === 'GasCommitted') for (const item of event.items) change(item.reservationId, { state: 'committed', cost: item.cost, transactionHash: item.transactionHash });
          }
        }
        expect(together.state).toEqual(state);
      }),
      { numRuns: 1_000 },
    );
  });
});

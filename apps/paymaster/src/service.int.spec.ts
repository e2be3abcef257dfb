import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { PaymasterServiceService, ReservationState, ReserveOutcome, SponsorReason, type ReserveRequest } from '@settlement/proto/paymaster/v1/paymaster';
import { IntentKind, TransactionFinalized } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { ServiceUnderTest } from '@settlement/testing/service-under-test';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const sponsorId = 'acme';
const chainId = 'eip155:31337';
const hash = `0x${'cd'.repeat(32)}`;

let postgres: LocalPostgres;
let relayer: PostgresEventStore;
let service: ServiceUnderTest;
let client: RpcClient<typeof PaymasterServiceService>;

const ask = (reservationId: string, amountWeiMax = '10', sponsor = sponsorId): ReserveRequest => ({ reservationId, sponsorId: sponsor, chainId, subjectId: `pay-${reservationId}`, amountWeiMax });

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['paymaster', 'relayer'] });
  relayer = await openEventStore({ source: 'relayer', partitionMap: singleDatabase(postgres.urlFor('relayer')), region: 'test', epoch: 1n, clock: systemClock });
  service = await ServiceUnderTest.prepare('paymaster', {
    DATABASE_URL: postgres.urlFor('paymaster'),
    FEED_DATABASES: JSON.stringify({ relayer: postgres.urlFor('relayer', 'feed_reader') }),
    SPONSORS: JSON.stringify([{ id: sponsorId, budgetWei: '1000' }]),
  });
  client = grpcClient(PaymasterServiceService, service.address);
});
afterAll(async () => {
  client?.close();
  await service?.dispose();
  await relayer?.close();
  await postgres?.stop();
});

async function settled(expected: Record<string, string>): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const budget = await client.getBudget({ sponsorId });
    if (attempt === 600 || Object.entries(expected).every(([field, value]) => Object.entries(budget).some(([name, found]) => name === field && found === value))) {
      expect(budget).toMatchObject(expected);
      return;
    }
    await systemClock.sleep(50);
  }
}

describe('paymaster as a process', () => {
  it('opens the configured sponsors and is ready', async () => {
    service.start();
    await service.ready();
    expect(await client.getBudget({ sponsorId })).toEqual({ sponsorId, budgetWei: '1000', reservedWei: '0', spentWei: '0', availableWei: '1000' });
  });

  it('answers each item of a call, in order, over several sponsors', async () => {
    await client.setBudget({ sponsorId: 'small', budgetWei: '15', commandId: 'open' });
    const { items } = await client.reserveMany({ items: [ask('a'), ask('b', '10', 'small'), ask('c', '10', 'small'), ask('d', '5', 'nobody'), ask('a'), ask('a', '11')] });
    expect(items.map(({ reservationId, outcome, reason }) => [reservationId, ReserveOutcome[outcome], SponsorReason[reason]])).toEqual([
      ['a', 'RESERVE_OUTCOME_RESERVED', 'SPONSOR_REASON_UNSPECIFIED'],
      ['b', 'RESERVE_OUTCOME_RESERVED', 'SPONSOR_REASON_UNSPECIFIED'],
      ['c', 'RESERVE_OUTCOME_REFUSED', 'SPONSOR_REASON_BUDGET_EXCEEDED'],
      ['d', 'RESERVE_OUTCOME_REFUSED', 'SPONSOR_REASON_UNKNOWN_SPONSOR'],
      ['a', 'RESERVE_OUTCOME_RESERVED', 'SPONSOR_REASON_UNSPECIFIED'],
      ['a', 'RESERVE_OUTCOME_REFUSED', 'SPONSOR_REASON_RESERVATION_CHANGED'],
    ]);
  });

  it('releases and commits, and repeats what was recorded', async () => {
    await client.reserve(ask('e', '100'));
    expect(await client.commit({ reservationId: 'e', sponsorId, costWei: '42', transactionHash: hash })).toEqual({ reservationId: 'e', state: ReservationState.RESERVATION_STATE_COMMITTED, costWei: '42' });
    expect(await client.commit({ reservationId: 'e', sponsorId, costWei: '43', transactionHash: hash })).toMatchObject({ costWei: '42' });
    expect(await client.release({ reservationId: 'e', sponsorId })).toMatchObject({ state: ReservationState.RESERVATION_STATE_COMMITTED });
    expect(await client.release({ reservationId: 'a', sponsorId })).toMatchObject({ state: ReservationState.RESERVATION_STATE_RELEASED });
    await settled({ reservedWei: '0', spentWei: '42' });
  });

  it('refuses bad input with every path, and a budget below what is committed', async () => {
    await expect(client.reserveMany({ items: [ask('bad id'), ask('f', '-1'), { ...ask('g'), chainId: 'mainnet' }] })).rejects.toMatchObject({
      issues: [{ path: 'items[0].reservation_id' }, { path: 'items[0].subject_id' }, { path: 'items[1].amount_wei_max' }, { path: 'items[2].chain_id' }],
    });
    await expect(client.setBudget({ sponsorId, budgetWei: '41', commandId: 'low' })).rejects.toMatchObject({ code: 'BUDGET_BELOW_COMMITMENTS' });
    await expect(client.getBudget({ sponsorId: 'nobody' })).rejects.toMatchObject({ code: 'UNKNOWN_SPONSOR' });
  });

  it('takes actual costs from the relayer\'s facts, once, also when it was killed in between', async () => {
    await client.reserveMany({ items: [ask('h', '100'), ask('i', '100')] });
    const finalized = (id: string, costWei: string) => ({
      streamId: `transaction-${id}`,
      expectedVersion: 'must-not-exist' as const,
      commandId: 'finalize',
      events: [{
        type: 'TransactionFinalized',
        schemaVersion: 1,
        payload: TransactionFinalized.encode({
          transactionId: id, chainId, transactionHash: hash, blockNumber: 1n, blockHash: hash, gasUsed: 1n, gasPriceWei: '1', finalizedAtNs: 1n, attempt: 0, returnedIntentIds: [],
          outcomes: [{ intentId: `int-${id}`, subjectId: id, kind: IntentKind.INTENT_KIND_COLLECT, executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, sponsorId, reservationId: id, costWei, payouts: [], executedByTransactionHash: '' }],
        }).finish(),
      }],
    });
    await relayer.append(finalized('h', '30'));
    await settled({ reservedWei: '100', spentWei: '72' });
    await service.signal('SIGKILL');
    await relayer.append(finalized('i', '8'));
    service.start();
    await service.ready();
    await settled({ reservedWei: '0', spentWei: '80' });
  });

  it('loses and doubles no reservation over a SIGKILL in full load: what was answered is recorded, and a repetition completes the rest', async () => {
    await client.setBudget({ sponsorId, budgetWei: '100000', commandId: 'raise' });
    const before = await client.getBudget({ sponsorId });
    const ids = Array.from({ length: 64 }, (_, i) => Array.from({ length: 50 }, (_, n) => `k${i}-${n}`));
    const answered: string[] = [];
    const load = Promise.all(ids.map(async (own) => {
      for (const id of own) {
        try {
          const { outcome } = await client.reserve(ask(id, '7'), { deadlineMs: 15_000 });
          if (outcome === ReserveOutcome.RESERVE_OUTCOME_RESERVED) answered.push(id);
        } catch {
          // Killed in between: unknown to this caller, found out by the repetition below.
          return;
        }
      }
    }));
    while (answered.length < 100) await systemClock.sleep(2);
    await service.signal('SIGKILL');
    await load;
    service.start();
    await service.ready();
    const recorded = BigInt((await client.getBudget({ sponsorId })).reservedWei) - BigInt(before.reservedWei);
    expect(recorded % 7n).toBe(0n);
    expect(recorded >= 7n * BigInt(answered.length)).toBe(true);
    expect(answered.length).toBeGreaterThan(0);
    for (const own of ids) {
      const { items } = await client.reserveMany({ items: own.map((id) => ask(id, '7')) });
      expect(items.every(({ outcome }) => outcome === ReserveOutcome.RESERVE_OUTCOME_RESERVED)).toBe(true);
    }
    const after = await client.getBudget({ sponsorId });
    expect(BigInt(after.reservedWei) - BigInt(before.reservedWei)).toBe(7n * 64n * 50n);
  });

  it('shows each sponsor\'s sums in wei', async () => {
    const text = await service.metrics();
    const { reservedWei } = await client.getBudget({ sponsorId });
    expect(text).toMatch(new RegExp(`paymaster_sponsor_reserved_wei\\{sponsor="acme"[^}]*\\} ${reservedWei}\\n`));
    expect(text).toMatch(/paymaster_sponsor_spent_wei\{sponsor="acme"[^}]*\} 80\n/);
    expect(text).toMatch(/paymaster_sponsor_budget_wei\{sponsor="small"[^}]*\} 15\n/);
  });

  it('serves 64 callers of one reservation each', async () => {
    await client.setBudget({ sponsorId, budgetWei: String(10n ** 20n), commandId: 'raise-again' });
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: 64 }, async (_, i) => {
      for (let n = 0; n < 20; n += 1) await client.reserve(ask(`t${i}-${n}`, '7'));
    }));
    const seconds = (performance.now() - startedMs) / 1_000;
    process.stdout.write(`Reserve by 64 callers: ${Math.round((64 * 20) / seconds)} reservations/s\n`);
    const manyMs = performance.now();
    for (let call = 0; call < 10; call += 1) await client.reserveMany({ items: Array.from({ length: 500 }, (_, i) => ask(`u${call}-${i}`, '7')) });
    const perCallMs = (performance.now() - manyMs) / 10;
    process.stdout.write(`ReserveMany of 500 over gRPC: ${perCallMs.toFixed(1)} ms a call, ${Math.round(500_000 / perCallMs)} reservations/s\n`);
  });

  it('drains and leaves with 0 on SIGTERM', async () => {
    expect(await service.signal('SIGTERM')).toBe(0);
  });
});

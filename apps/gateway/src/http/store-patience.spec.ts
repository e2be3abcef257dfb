import { notDone } from '@settlement/event-store/errors';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock, UnixMs, UnixNs } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { Problem } from './problem';
import { json, type Route, type RouteAnswer } from './route';
import { StorePatience } from './store-patience';

const PATIENCE_MS = 25_000;
const ANSWERED_WITHIN_MS = 28_000;
const ANSWER = json(200, {});
const away = (): OperationalError => notDone('DATABASE_UNREACHABLE', 'no connection');
const unknown = (): OperationalError => new OperationalError('APPEND_OUTCOME_UNKNOWN', 'COMMIT has not been answered', 'unknown');
const routeOf = (over: Partial<Route>): Route => ({ method: 'POST', path: '/v1/things', idempotent: true, awaitsChain: false, ...over }) as Route;

/** Time passes when somebody sleeps, as far as the nearest alarm. */
function timeline() {
  let nowMs = 0;
  const alarms = new Set<{ readonly atMs: number; readonly ring: () => void }>();
  const clock: Clock = {
    nowNs: () => 0n as UnixNs,
    nowMs: () => 0 as UnixMs,
    monotonicMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const alarm = { atMs: nowMs + ms, ring: resolve };
        alarms.add(alarm);
        signal?.addEventListener('abort', () => {
          alarms.delete(alarm);
          resolve();
        });
      }),
  };
  /** To the next alarm and what follows from it; false when there is none. */
  const step = async (): Promise<boolean> => {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    const [next] = [...alarms].sort((a, b) => a.atMs - b.atMs);
    if (next === undefined) return false;
    alarms.delete(next);
    nowMs = Math.max(nowMs, next.atMs);
    next.ring();
    return true;
  };
  const told: unknown[] = [];
  const logger = { warn: (facts: unknown) => void told.push(facts) } as unknown as Logger;
  const metrics = new Registry();
  const patience = (patienceMs: number): StorePatience => new StorePatience({ patienceMs, clock, logger, metrics });
  /** What the request comes to, and when. */
  const outcome = async (route: Route, attempt: (n: number) => Promise<RouteAnswer>, patienceMs = PATIENCE_MS): Promise<{ readonly answer: unknown; readonly tries: number; readonly atMs: number }> => {
    let tries = 0;
    let ended: { readonly answer: unknown; readonly atMs: number } | undefined;
    const end = (answer: unknown): void => void (ended = { answer, atMs: nowMs });
    patience(patienceMs).answer(route, 'req', () => attempt((tries += 1))).then(end, end);
    while (await step());
    return { answer: 'never', atMs: nowMs, ...ended, tries };
  };
  return { clock, told, metrics, outcome };
}

const hang = (): Promise<never> => new Promise(() => undefined);

describe('patience with the store', () => {
  it('repeats what was not done until it is, and counts and tells it', async () => {
    const { outcome, told, metrics } = timeline();
    const { answer, tries, atMs } = await outcome(routeOf({}), (n) => (n <= 40 ? Promise.reject(away()) : Promise.resolve(ANSWER)));
    expect({ answer, tries, atMs }).toEqual({ answer: ANSWER, tries: 41, atMs: 8_000 });
    expect(told).toMatchObject([{ requestId: 'req', tookMs: 8_000, tries: 40, lastTries: Array.from({ length: 5 }, () => 'STORE_UNAVAILABLE after 0 ms: no connection') }]);
    expect(await metrics.getSingleMetricAsString('gateway_store_retries_total')).toContain('{code="STORE_UNAVAILABLE"} 40');
  });

  it('repeats what may have been done under an idempotency key, and without one hands it on', async () => {
    expect(await timeline().outcome(routeOf({}), (n) => (n === 1 ? Promise.reject(unknown()) : Promise.resolve(ANSWER)))).toMatchObject({ answer: ANSWER, tries: 2 });
    expect(await timeline().outcome(routeOf({ idempotent: false }), () => Promise.reject(unknown()))).toMatchObject({ answer: { outcome: 'unknown' }, tries: 1 });
  });

  it('hands on what is no matter of the store at once', async () => {
    const refused = new Problem('AMOUNT_ZERO', 'amount: expected more than zero');
    expect(await timeline().outcome(routeOf({}), () => Promise.reject(refused))).toEqual({ answer: refused, tries: 1, atMs: 0 });
  });

  it('ends in time', async () => {
    const { answer, atMs } = await timeline().outcome(routeOf({}), () => Promise.reject(away()));
    expect(answer).toMatchObject({ code: 'DATABASE_UNREACHABLE' });
    expect(atMs).toBeGreaterThan(PATIENCE_MS - 1_000);
    expect(atMs).toBeLessThanOrEqual(PATIENCE_MS);
  });

  it.each([
    ['under a key', routeOf({}), 'OUTCOME_UNKNOWN'],
    ['of a read', routeOf({ method: 'GET', idempotent: false }), 'STORE_UNAVAILABLE'],
  ] as const)('answers in time although a try %s hangs', async (_what, route, code) => {
    expect(await timeline().outcome(route, hang)).toMatchObject({ answer: { code }, tries: 1, atMs: ANSWERED_WITHIN_MS });
    expect(await timeline().outcome(route, (n) => (n < 3 ? Promise.reject(away()) : hang()))).toMatchObject({ answer: { code }, tries: 3, atMs: ANSWERED_WITHIN_MS });
  });

  it('answers in time although it has no patience', async () => {
    expect(await timeline().outcome(routeOf({}), hang, 0)).toMatchObject({ answer: { code: 'OUTCOME_UNKNOWN' }, tries: 1, atMs: ANSWERED_WITHIN_MS });
  });

  it('leaves a route that waits for the chain its own limit', async () => {
    const { clock, outcome, told } = timeline();
    const slow = (): Promise<RouteAnswer> => clock.sleep(60_000).then(() => ANSWER);
    expect(await outcome(routeOf({ awaitsChain: true, idempotent: false }), slow)).toMatchObject({ answer: ANSWER, atMs: 60_000 });
    expect(told).toEqual([]);
  });
});

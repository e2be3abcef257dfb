import type { Logger } from '@settlement/observability/logger';
import type { Clock } from '@settlement/kernel/time';
import { Counter, type Registry } from 'prom-client';
import { Problem, problemOf } from './problem';
import type { Route, RouteAnswer } from './route';

/** Between two tries while the store is away. */
const RETRY_MS = 200;
/** A request that needed this long is told in the log, with what its tries met. */
const TOLD_MS = 5_000;
/** Callers of payment APIs commonly wait for 30 s. */
const ANSWERED_WITHIN_MS = 28_000;

const LATE = Symbol('LATE');

export interface StorePatienceOptions {
  /** How long a request is tried again by itself while the store is away. 0: one try. */
  readonly patienceMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Registry;
}

/**
 * A database that changes its primary is away for some seconds, and every process meets that at once: there is nobody better to
 * send the caller to. What was not done is done again here, as the caller would be told to do, and under an idempotency key also
 * what may have been done.
 *
 * A try itself may hang, in a COMMIT or on a connection whose server is gone, and a caller that hears nothing knows less than one that
 * is told 503: so it is told so before it gives up. The try goes on alone; what it does is found under the key by the repetition.
 *
 * Crash meanwhile: the caller hears nothing and repeats, as ever.
 */
export class StorePatience {
  private readonly retries: Counter;

  constructor(private readonly options: StorePatienceOptions) {
    this.retries = new Counter({ name: 'gateway_store_retries_total', help: 'Tries of a request that the store did not answer, repeated without the caller, by code.', labelNames: ['code'], registers: [options.metrics] });
  }

  async answer(route: Route, requestId: string, attempt: () => Promise<RouteAnswer>): Promise<RouteAnswer> {
    const { clock, patienceMs, logger } = this.options;
    const startedMs = clock.monotonicMs();
    const tries: string[] = [];
    const ended = new AbortController();
    // What the chain takes its time for has a limit of its own.
    const late = route.awaitsChain ? [] : [clock.sleep(ANSWERED_WITHIN_MS, ended.signal).then(() => LATE)];
    try {
      for (;;) {
        const triedMs = clock.monotonicMs();
        try {
          const first = await Promise.race([attempt(), ...late]);
          if (typeof first === 'symbol') throw lateProblem(route);
          return first;
        } catch (error) {
          const { code } = problemOf(error);
          tries.push(`${code} after ${Math.round(clock.monotonicMs() - triedMs)} ms${error instanceof Problem ? '' : `: ${error instanceof Error ? error.message : String(error)}`}`);
          const repeatable = code === 'STORE_UNAVAILABLE' || (code === 'OUTCOME_UNKNOWN' && route.idempotent);
          if (!repeatable || clock.monotonicMs() - startedMs + RETRY_MS >= patienceMs) throw error;
          this.retries.inc({ code });
        }
        await clock.sleep(RETRY_MS);
      }
    } finally {
      ended.abort();
      const tookMs = Math.round(clock.monotonicMs() - startedMs);
      if (tookMs > TOLD_MS && (tries.length > 0 || !route.awaitsChain)) logger.warn({ requestId, method: route.method, route: route.path, tookMs, tries: tries.length, lastTries: tries.slice(-5) }, 'a request waited for the store');
    }
  }
}

function lateProblem({ idempotent }: Route): Problem {
  return idempotent
    ? new Problem('OUTCOME_UNKNOWN', 'The store has not answered yet. Repeat the request with the same Idempotency-Key: it takes effect once.')
    : new Problem('STORE_UNAVAILABLE', 'The store did not answer in time. Repeat the request.');
}

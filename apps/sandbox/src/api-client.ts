import { systemClock } from '@settlement/config/system-ports';
import { Endpoints } from './endpoints';

/** What HTTP clients of payment APIs commonly wait; longer than this a merchant does not know and asks again. */
const ANSWER_MS_MAX = 30_000;

export interface ApiAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly replayed: boolean;
}

/** A merchant's server, seen from outside: HTTP and JSON only. */
export class ApiClient {
  private readonly endpoints: Endpoints;

  constructor(
    api: string | Endpoints,
    private readonly key: string,
  ) {
    this.endpoints = typeof api === 'string' ? new Endpoints([api]) : api;
  }

  /** Once. A refused connection, a time-out or a 503 throws or is answered as it is. */
  async request(method: string, path: string, options: { readonly body?: unknown; readonly idempotencyKey?: string } = {}): Promise<ApiAnswer> {
    const url = this.endpoints.next();
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${this.key}`,
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    }).catch((error: unknown) => {
      this.endpoints.failed(url);
      throw error;
    });
    const text = await response.text();
    const parsed: unknown = text === '' ? {} : JSON.parse(text);
    const body = typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
    return { status: response.status, body, replayed: response.headers.get('idempotent-replayed') === 'true' };
  }

  /**
   * As a careful merchant does it: the same request with the same key until there is an answer, so that a gateway that
   * dies in between costs nothing. Gives up after `giveUpMs`, since whether it was accepted is then unknown.
   */
  async submit(method: string, path: string, body: unknown, idempotencyKey: string, giveUpMs = 120_000): Promise<ApiAnswer> {
    const deadline = systemClock.monotonicMs() + giveUpMs;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await this.request(method, path, { body, idempotencyKey });
        const tryAgain = answer.status === 429 || answer.status >= 500 || (answer.status === 409 && answer.body['code'] === 'IDEMPOTENCY_KEY_IN_FLIGHT');
        if (!tryAgain || systemClock.monotonicMs() > deadline) return answer;
      } catch (error) {
        if (systemClock.monotonicMs() > deadline) throw error;
      }
      await systemClock.sleep(Math.min(1_000, 50 * 2 ** Math.min(attempt, 5)));
    }
  }
}

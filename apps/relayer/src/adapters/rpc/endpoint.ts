import { RpcHttpFailure, RpcRefused, jsonRpc } from '@settlement/chain/rpc';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { answered, CLOSED, contradicted, describeBreaker, failed, probing, restored, tripped, type Breaker, type Trip } from './circuit-breaker.policy';
import { classify } from './answer-classification.policy';
import { JsonRpcChain } from './json-rpc-chain';

export interface EndpointOptions {
  readonly name: string;
  readonly url: string;
  readonly timeoutMs: number;
  readonly chainId: bigint;
  readonly clock: Clock;
  readonly changed: (endpoint: Endpoint, breaker: Breaker) => void;
}

/** One node with its circuit breaker. It serves the right chain before anything else is asked of it. */
export class Endpoint {
  readonly name: string;
  readonly chain: JsonRpcChain;
  readonly #options: EndpointOptions;
  #breaker: Breaker = CLOSED;
  #verified: Promise<void> | undefined;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.name = options.name;
    this.chain = new JsonRpcChain(jsonRpc(options.url, { timeoutMs: options.timeoutMs }));
  }

  get breaker(): Breaker {
    return this.#breaker;
  }

  get usable(): boolean {
    return this.#breaker.state === 'closed';
  }

  describe(): string {
    return `${this.name} ${describeBreaker(this.#breaker, this.#options.clock.monotonicMs())}`;
  }

  /** Asks, and keeps the breaker's books. What the question throws goes on to the caller. */
  async ask<T>(question: (chain: JsonRpcChain) => Promise<T>): Promise<T> {
    try {
      await this.#onChain();
      const answer = await question(this.chain);
      this.#become(answered(this.#breaker, this.#options.clock.monotonicMs()));
      return answer;
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  trip(reason: Trip, why: string): void {
    if (this.#breaker.state === 'closed') this.#become(tripped(this.#breaker, reason, why, this.#options.clock.monotonicMs()));
  }

  strike(what: string): void {
    this.#become(contradicted(this.#breaker, what, this.#options.clock.monotonicMs()));
  }

  /** Is it due, and did nobody else take the probe? Then it is half-open now. */
  takeProbe(needed: boolean): boolean {
    const before = this.#breaker;
    this.#become(probing(before, this.#options.clock.monotonicMs(), needed));
    return before.state === 'open' && this.#breaker.state === 'half-open';
  }

  /** Asks while half-open: passes when `fit` answers undefined, else stays out of use for what it answers. */
  async probe(fit: (chain: JsonRpcChain) => Promise<{ readonly reason: Trip; readonly why: string } | undefined>): Promise<void> {
    const { reason } = this.#breaker.state === 'half-open' ? this.#breaker : { reason: 'unreachable' as const };
    let verdict: { readonly reason: Trip; readonly why: string; readonly retryAfterMs?: number | undefined } | undefined;
    try {
      this.#verified = undefined;
      await this.#onChain();
      verdict = await fit(this.chain);
    } catch (error) {
      const again = error instanceof RpcHttpFailure && error.status === 429;
      verdict = {
        reason: again ? 'rate-limited' : error instanceof OperationalError && error.code === 'WRONG_CHAIN' ? 'wrong-chain' : reason,
        why: textOf(error),
        retryAfterMs: again ? error.retryAfterMs : undefined,
      };
    }
    if (this.#breaker.state !== 'half-open') return;
    this.#become(verdict === undefined ? restored(this.#breaker, this.#options.clock.monotonicMs()) : tripped(this.#breaker, verdict.reason, verdict.why, this.#options.clock.monotonicMs(), verdict.retryAfterMs));
  }

  /** Once, and again with each probe: an endpoint may be pointed at another chain while we run. */
  #onChain(): Promise<void> {
    this.#verified ??= this.chain.chainId().then((chainId) => {
      if (chainId !== this.#options.chainId) throw new OperationalError('WRONG_CHAIN', `it serves chain ${chainId}, not ${this.#options.chainId}`, 'not-done');
    });
    return this.#verified.catch((error: unknown) => {
      this.#verified = undefined;
      throw error;
    });
  }

  #note(error: unknown): void {
    const nowMs = this.#options.clock.monotonicMs();
    const why = textOf(error);
    if (error instanceof RpcRefused) {
      // The node answered, so it is there; only a limit that it names in JSON keeps us away.
      const meaning = classify({ kind: 'error', ...error.refusal });
      if (meaning.outcome === 'refused' && meaning.reason === 'RATE_LIMITED') this.trip('rate-limited', why);
      return;
    }
    if (!(error instanceof OperationalError)) return;
    if (error.code === 'WRONG_CHAIN') this.trip('wrong-chain', why);
    else if (error instanceof RpcHttpFailure && error.status === 429) {
      if (this.#breaker.state === 'closed') this.#become(tripped(this.#breaker, 'rate-limited', why, nowMs, error.retryAfterMs));
    } else this.#become(failed(this.#breaker, error.code === 'RPC_TIMEOUT' ? 'timeouts' : error.code === 'RPC_UNREACHABLE' ? 'unreachable' : 'malformed', why, nowMs));
  }

  #become(next: Breaker): void {
    const before = this.#breaker;
    this.#breaker = next;
    if (before.state !== next.state) this.#options.changed(this, next);
  }
}

/** The client's errors name methods and codes, never the address. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import type { HealthState } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import type { DisagreementSubject, EndpointMetrics } from '../../ports/endpoint-metrics';
import type { Trip } from './circuit-breaker.policy';
import { Endpoint, textOf } from './endpoint';
import { endpointName } from './endpoint-name';
import type { JsonRpcChain } from './json-rpc-chain';

export interface EndpointPanelOptions {
  /** CAIP-2, for metrics. */
  readonly caip2: string;
  readonly chainId: bigint;
  readonly rpcUrls: readonly string[];
  readonly privateRpcUrls: readonly string[];
  /** Endpoints that must say the same before it is believed. */
  readonly quorum: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: EndpointMetrics;
}

export interface Vote<T> {
  readonly endpoint: Endpoint;
  readonly said: T;
}

/** What is wrong with an endpoint that was examined, or nothing. */
export type Examination = (endpoint: Endpoint, chain: JsonRpcChain) => Promise<{ readonly reason: Trip; readonly why: string } | undefined>;

/** Enough have answered to decide, and do not agree: this long the others are waited for. Milliseconds. */
const GRACE_MS = 400;
/** So long without an agreement is no flicker at the tip any more: somebody has to look. Milliseconds. */
const UNDECIDED_MS_MAX = 3_000;

/** The endpoints of one chain: asks those in use, waits for a quorum, and keeps the books of who is in use and why not. */
export class EndpointPanel {
  readonly public: readonly Endpoint[];
  readonly private: readonly Endpoint[];
  readonly #options: EndpointPanelOptions;
  readonly #examine: Examination;
  /** Questions that had no quorum the last time they were asked, and since when. */
  readonly #open = new Map<string, { readonly sinceMs: number; readonly why: string }>();

  constructor(options: EndpointPanelOptions, examine: Examination) {
    this.#options = options;
    this.#examine = examine;
    const { timeoutMs, chainId, clock } = options;
    const make = (kind: 'rpc' | 'private') => (url: string, index: number) =>
      new Endpoint({ name: endpointName(kind, index, url), url, timeoutMs, chainId, clock, changed: (endpoint) => this.#report(endpoint) });
    this.public = options.rpcUrls.map(make('rpc'));
    this.private = options.privateRpcUrls.map(make('private'));
    for (const it of [...this.public, ...this.private]) options.metrics.endpointState(options.caip2, it.name, it.breaker.state);
  }

  /** Ready with a quorum in use; names every endpoint that is not, and why. */
  health(): HealthState {
    const out = [...this.public, ...this.private].filter((it) => !it.usable);
    const why = out.map((it) => it.describe()).join('; ');
    const inUse = this.public.length - out.filter((it) => this.public.includes(it)).length;
    const nowMs = this.#options.clock.monotonicMs();
    const stuck = [...this.#open.values()].filter(({ sinceMs }) => nowMs - sinceMs > UNDECIDED_MS_MAX);
    if (inUse >= this.#options.quorum && stuck.length > 0) return { ok: false, why: `${stuck.map((it) => it.why).join('; ')}. See docs/runbooks/endpoint-disagreement.md` };
    if (inUse >= this.#options.quorum) return out.length === 0 ? { ok: true } : { ok: true, why };
    return { ok: false, why: `${inUse} of ${this.public.length} RPC endpoints in use, ${this.#options.quorum} must agree: ${why}. See docs/runbooks/endpoint-disagreement.md` };
  }

  /** A question has its answer. */
  decided(what: string): void {
    this.#open.delete(what);
  }

  /** The quorum's answer. `audit` sees every answer, also those that come after the decision. */
  async agree<T, R>(
    what: DisagreementSubject,
    question: (chain: JsonRpcChain) => Promise<T>,
    decide: (votes: readonly Vote<T>[]) => R | undefined,
    audit: (vote: Vote<T>, agreed: R) => void = () => undefined,
  ): Promise<R> {
    const votes: Vote<T>[] = [];
    let agreed: R | undefined;
    agreed = await this.gather(question, votes, decide, (late) => {
      if (agreed !== undefined) audit(late, agreed);
    });
    if (agreed === undefined) {
      for (const { endpoint } of votes.length >= this.#options.quorum ? votes : []) this.#options.metrics.endpointDisagreement(this.#options.caip2, endpoint.name, what);
      throw this.undecided(what, votes.length, votes.map(({ endpoint }) => endpoint.name));
    }
    this.#open.delete(what);
    for (const vote of votes) audit(vote, agreed);
    return agreed;
  }

  /**
   * Asks all in use at once. Resolves with the first decision, or with none when all have answered or, once a quorum has,
   * after a grace: one hung node must not set the pace.
   */
  async gather<T, R>(
    question: (chain: JsonRpcChain) => Promise<T>,
    votes: Vote<T>[],
    decide: (votes: readonly Vote<T>[]) => R | undefined,
    late: (vote: Vote<T>) => void = () => undefined,
  ): Promise<R | undefined> {
    const asked = this.#inUse();
    return new Promise<R | undefined>((resolve) => {
      let open = asked.length;
      let done = false;
      let inGrace = false;
      const finish = (decision: R | undefined): void => {
        done = true;
        resolve(decision);
      };
      const settle = (): void => {
        open -= 1;
        if (done) return;
        const decision = decide(votes);
        if (decision !== undefined || open === 0) finish(decision);
        else if (votes.length >= this.#options.quorum && !inGrace) {
          inGrace = true;
          void this.#options.clock.sleep(GRACE_MS).then(() => {
            if (!done) finish(undefined);
          });
        }
      };
      for (const endpoint of asked) {
        endpoint.ask(question).then(
          (said) => {
            if (done) late({ endpoint, said });
            else votes.push({ endpoint, said });
            settle();
          },
          (error: unknown) => {
            // Kept by the endpoint's breaker; for this question it abstains.
            this.#options.logger.debug({ endpoint: endpoint.name, why: textOf(error) }, 'RPC endpoint did not answer');
            settle();
          },
        );
      }
    });
  }

  /** The first of those in use that answers. */
  async first<T>(question: (chain: JsonRpcChain) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const endpoint of this.#inUse()) {
      try {
        return await endpoint.ask(question);
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
        last = error;
      }
    }
    throw last instanceof Error ? last : this.undecided('calls', 0, []);
  }

  #inUse(): readonly Endpoint[] {
    const inUse = this.public.filter((it) => it.usable);
    if (inUse.length >= this.#options.quorum) {
      this.#open.delete('endpoints');
      return inUse;
    }
    this.probeDue();
    throw this.undecided('endpoints', inUse.length, []);
  }

  undecided(what: string, answered: number, said: readonly string[]): OperationalError {
    const out = this.public.filter((it) => !it.usable).map((it) => it.describe());
    const text = `no ${this.#options.quorum} of ${this.public.length} endpoints agree on ${what}: ${answered} answered${said.length === 0 ? '' : ` (${said.join(', ')})`}${out.length === 0 ? '' : `; out of use: ${out.join('; ')}`}`;
    this.#open.set(what, { sinceMs: this.#open.get(what)?.sinceMs ?? this.#options.clock.monotonicMs(), why: text });
    return new OperationalError(answered >= this.#options.quorum ? 'RPC_DISAGREE' : 'RPC_NO_QUORUM', text, 'not-done');
  }

  /** Those whose pause is over are examined in the background. */
  probeDue(): void {
    const needed = this.public.filter((it) => it.usable).length < this.#options.quorum;
    for (const endpoint of [...this.public, ...this.private]) {
      if (endpoint.takeProbe(needed)) void endpoint.probe((chain) => this.#examine(endpoint, chain));
    }
  }

  #report(endpoint: Endpoint): void {
    const { caip2, metrics, logger } = this.#options;
    metrics.endpointState(caip2, endpoint.name, endpoint.breaker.state);
    if (endpoint.breaker.state === 'closed') logger.info({ endpoint: endpoint.name }, 'RPC endpoint in use again');
    else if (endpoint.breaker.state === 'open') logger.warn({ endpoint: endpoint.name, reason: endpoint.breaker.reason, why: endpoint.breaker.why }, 'RPC endpoint out of use');
  }
}

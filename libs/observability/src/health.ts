export interface HealthState {
  readonly ok: boolean;
  /** Why not, or a remark; for the person who looks, so it says the next step. */
  readonly why?: string;
}

/**
 * How far a process has come. `waiting`: the program itself is up, and what it waits for stands outside, such as a database that
 * is not there yet; starting it again would not bring that any sooner.
 */
export type StartState = { readonly state: 'starting' } | { readonly state: 'waiting'; readonly why: string } | { readonly state: 'started' };

export type HealthCheck = () => Promise<HealthState>;

export interface HealthReport {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, HealthState>>;
}

interface Registered {
  readonly check: HealthCheck;
  readonly required: boolean;
  /** Asked and not answered yet: nobody asks once more meanwhile, however many probes come. */
  asking: Promise<HealthState> | undefined;
  askedAtMs: number;
  /** The last answer, and when it was given. */
  answer: HealthState | undefined;
  answeredAtMs: number;
}

/** Below a probe's timeout of 2 s, so that the reason arrives and not only the probe's own impatience. */
const TIMEOUT_MS = 1_500;

export interface HealthOptions {
  /** For how long an answer serves further probes: a check costs its part one question in this time, whoever looks. Default 0. */
  readonly cacheMs?: number;
}

/** Which dependencies a service needs before it may take work. A check that throws or is slower than its limit is not ok. */
export class HealthRegistry {
  private readonly checks = new Map<string, Registered>();
  private readonly cacheMs: number;
  private draining = false;
  private start: StartState = { state: 'starting' };

  constructor(options: HealthOptions = {}) {
    this.cacheMs = options.cacheMs ?? 0;
  }

  /** `required: false` shows the state without making the service unready. */
  register(name: string, check: HealthCheck, options: { readonly required: boolean } = { required: true }): void {
    this.checks.set(name, { check, required: options.required, asking: undefined, askedAtMs: 0, answer: undefined, answeredAtMs: Number.NEGATIVE_INFINITY });
  }

  /** From now on not ready: nothing new is to be sent here. */
  drain(): void {
    this.draining = true;
  }

  get isDraining(): boolean {
    return this.draining;
  }

  /** Started once, started for good. */
  get startState(): StartState {
    return this.start;
  }

  waiting(why: string): void {
    this.start = { state: 'waiting', why };
  }

  started(): void {
    this.start = { state: 'started' };
  }

  async report(timeoutMs = TIMEOUT_MS): Promise<HealthReport> {
    const states = await Promise.all([...this.checks].map(async ([name, registered]) => [name, await this.ask(registered, timeoutMs), registered.required] as const));
    const checks: Record<string, HealthState> = {};
    for (const [name, state] of states) checks[name] = state;
    if (this.draining) checks['shutdown'] = { ok: false, why: 'stopping: drained of new work' };
    const ready = !this.draining && states.every(([, state, required]) => state.ok || !required);
    return { ready, checks };
  }

  private async ask(registered: Registered, timeoutMs: number): Promise<HealthState> {
    const nowMs = performance.now();
    if (registered.answer !== undefined && nowMs - registered.answeredAtMs < this.cacheMs) return registered.answer;
    if (registered.asking === undefined) {
      registered.askedAtMs = nowMs;
      registered.asking = answerOf(registered.check).then((state) => {
        registered.asking = undefined;
        registered.answer = state;
        registered.answeredAtMs = performance.now();
        return state;
      });
    }
    const waitedMs = nowMs - registered.askedAtMs;
    return within(registered.asking, timeoutMs, () => ({ ok: false, why: `no answer within ${Math.round(waitedMs + timeoutMs)} ms` }));
  }
}

async function answerOf(check: HealthCheck): Promise<HealthState> {
  try {
    return await check();
  } catch (error) {
    return { ok: false, why: describe(error) };
  }
}

/** Several addresses that were tried in vain come as one error without words of its own. */
function describe(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(describe).join('; ');
  return error instanceof Error ? error.message : String(error);
}

async function within(asking: Promise<HealthState>, timeoutMs: number, late: () => HealthState): Promise<HealthState> {
  let timer: NodeJS.Timeout | undefined;
  const impatience = new Promise<HealthState>((resolve) => {
    timer = setTimeout(() => resolve(late()), timeoutMs);
  });
  try {
    return await Promise.race([asking, impatience]);
  } finally {
    clearTimeout(timer);
  }
}

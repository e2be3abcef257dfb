export interface HealthState {
  readonly ok: boolean;
  /** Why not, or a remark; for the person who looks, so it says the next step. */
  readonly why?: string;
}

export type HealthCheck = () => Promise<HealthState>;

export interface HealthReport {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, HealthState>>;
}

/** Which dependencies a service needs before it may take work. A check that throws or is slower than its limit is not ok. */
export class HealthRegistry {
  private readonly checks = new Map<string, { readonly check: HealthCheck; readonly required: boolean }>();
  private draining = false;

  /** `required: false` shows the state without making the service unready. */
  register(name: string, check: HealthCheck, options: { readonly required: boolean } = { required: true }): void {
    this.checks.set(name, { check, required: options.required });
  }

  /** From now on not ready: nothing new is to be sent here. */
  drain(): void {
    this.draining = true;
  }

  async report(timeoutMs = 2_000): Promise<HealthReport> {
    const states = await Promise.all(
      [...this.checks].map(async ([name, { check, required }]) => [name, await bounded(check, timeoutMs), required] as const),
    );
    const checks: Record<string, HealthState> = {};
    for (const [name, state] of states) checks[name] = state;
    if (this.draining) checks['shutdown'] = { ok: false, why: 'stopping: drained of new work' };
    const ready = !this.draining && states.every(([, state, required]) => state.ok || !required);
    return { ready, checks };
  }
}

async function bounded(check: HealthCheck, timeoutMs: number): Promise<HealthState> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<HealthState>((resolve) => {
    timer = setTimeout(() => resolve({ ok: false, why: `no answer within ${timeoutMs} ms` }), timeoutMs);
  });
  try {
    return await Promise.race([check(), late]);
  } catch (error) {
    return { ok: false, why: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

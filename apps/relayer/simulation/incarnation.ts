import type { FaultCounts, FaultKind, Weather } from './faults';
import type { Prng } from './prng';
import type { Scheduler } from './scheduler';

export interface IncarnationParts {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly counts: FaultCounts;
  /** As it is now: faults stop when the storm is over. */
  readonly weather: () => Weather;
  /** Product code goes on in this step. */
  readonly delivered: () => void;
  /** This process dies now, in the middle of what it does. */
  readonly crashed: (incarnation: Incarnation) => void;
}

/** One call over a port: to the database, to a node, to a signer. */
export interface Call<T> {
  readonly label: string;
  /** At the other side, at a time of its own; it happens whether or not the caller still lives. */
  readonly perform: () => T;
  /** How a failure looks to the caller. A port that never fails in one of these ways leaves it out. */
  readonly notDone?: () => Error;
  readonly unknown?: () => Error;
  /** What an answer that is lost after the fact counts as. */
  readonly lost?: FaultKind;
  /** Milliseconds there and back, without faults. */
  readonly latencyMs: number;
}

/** Longer than any answer takes: what a caller waits for an answer that will not come. Milliseconds. */
const TIMEOUT_MS = 400;

/**
 * One life of one process. Whatever the product code awaits is a call made through here, so that this class alone decides what
 * it gets to see and when: while it is frozen (SIGSTOP) answers pile up, and after its crash none ever comes, so that no line
 * of it runs again. What it had sent is under way all the same.
 */
export class Incarnation {
  #alive = true;
  #frozen = false;
  #backlog: { readonly label: string; readonly run: () => void }[] = [];

  constructor(
    readonly name: string,
    private readonly parts: IncarnationParts,
  ) {}

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  crash(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#backlog = [];
    this.parts.crashed(this);
  }

  freeze(): void {
    this.#frozen = true;
  }

  /** Everything that came in the meantime is there at once, and is seen in no particular order. */
  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    const { scheduler, prng } = this.parts;
    for (const { label, run } of this.#backlog) scheduler.after(prng.int(0, 2), label, () => this.deliver(label, run));
    this.#backlog = [];
  }

  /** Runs a continuation of the process: now, or when it is thawed, or never. */
  deliver(label: string, run: () => void): void {
    if (!this.#alive) return;
    if (this.#frozen) {
      this.#backlog.push({ label, run });
      return;
    }
    this.parts.delivered();
    run();
  }

  call<T>(call: Call<T>): Promise<T> {
    const { prng, counts, scheduler } = this.parts;
    const weather = this.parts.weather();
    return new Promise<T>((resolve, reject) => {
      // A process that has died goes on for no step: its caller waits for ever.
      if (!this.#alive) return;
      const label = `${this.name} ${call.label}`;
      const answer = (delayMs: number, how: string, deliver: () => void): void => {
        scheduler.after(delayMs, `${label} ${how}`, () => this.deliver(`${label} ${how}`, deliver));
      };
      const spread = 500 + prng.int(0, 1_500);
      let thereMs = (call.latencyMs * spread) / 2_000;
      const backMs = (call.latencyMs * (500 + prng.int(0, 1_500))) / 2_000;

      if (prng.chance(weather.crashAtCallPerMille)) {
        counts['crash-at-call'] += 1;
        // Sent or not: from outside, a crash before and a crash after the call look the same.
        if (prng.chance(500)) scheduler.after(thereMs, `${label} (its caller is dead)`, () => void outcomeOf(call.perform));
        this.crash();
        return;
      }
      if (call.notDone !== undefined && prng.chance(weather.callNotDonePerMille)) {
        counts['call-not-done'] += 1;
        const { notDone } = call;
        answer(thereMs + backMs, 'refused', () => reject(notDone()));
        return;
      }
      if (call.unknown !== undefined && prng.chance(weather.callUnknownPerMille)) {
        const { unknown } = call;
        const happens = prng.int(0, 3);
        if (happens > 0) {
          counts[call.lost ?? 'call-answer-lost'] += 1;
          // The last of these happens after its caller has given up, and perhaps has asked again.
          const atMs = happens === 3 ? TIMEOUT_MS + prng.int(0, TIMEOUT_MS) : thereMs;
          scheduler.after(atMs, `${label} done, answer lost`, () => void outcomeOf(call.perform));
        }
        answer(prng.chance(500) ? TIMEOUT_MS : thereMs + backMs, 'unknown', () => reject(unknown()));
        return;
      }
      if (prng.chance(weather.stallPerMille)) {
        counts['call-stalled'] += 1;
        // As if the process stopped between its decision and the send: the call arrives when its ground may be gone.
        thereMs += prng.int(weather.leaseMs, 3 * weather.leaseMs);
      }
      // Half of what a process was about to send when it was stopped has not left it yet, and leaves it when it goes on.
      const leaves = prng.chance(500);
      const arrive = (): void => {
        if (this.#frozen && !leaves) {
          this.#backlog.push({ label: `${label} (sent late)`, run: arrive });
          return;
        }
        const outcome = outcomeOf(call.perform);
        answer(backMs, 'answered', () => {
          if (outcome.ok) resolve(outcome.value);
          else reject(outcome.error);
        });
      };
      scheduler.after(thereMs, label, arrive);
    });
  }
}

type CallOutcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: Error };

function outcomeOf<T>(perform: () => T): CallOutcome<T> {
  try {
    return { ok: true, value: perform() };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

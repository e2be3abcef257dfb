import type { Prng } from './prng';

/** Something that will happen at a virtual time. */
export interface Task {
  readonly atUs: number;
  /** Drawn by seed: what is due at the same time happens in a random but repeatable order. */
  readonly tie: number;
  readonly label: string;
  readonly run: () => void;
  cancelled: boolean;
}

/**
 * Virtual time and what is still to happen in it: a binary heap. Time passes only by taking the next task, so ten virtual
 * seconds last as long as their tasks do.
 */
export class Scheduler {
  #nowUs = 0;
  readonly #heap: Task[] = [];

  constructor(private readonly prng: Prng) {}

  /** Microseconds since the simulation began. */
  get nowUs(): number {
    return this.#nowUs;
  }

  get pending(): number {
    return this.#heap.length;
  }

  after(delayMs: number, label: string, run: () => void): Task {
    const task: Task = { atUs: this.#nowUs + Math.max(0, Math.round(delayMs * 1_000)), tie: this.prng.u32(), label, run, cancelled: false };
    this.#push(task);
    return task;
  }

  /** Moves time to the next task and hands it over; `undefined` when nothing will ever happen again. */
  next(): Task | undefined {
    for (;;) {
      const task = this.#pop();
      if (task === undefined) return undefined;
      if (task.cancelled) continue;
      this.#nowUs = task.atUs;
      return task;
    }
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(task);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !earlier(task, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = task;
  }

  #pop(): Task | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && earlier(right, below)) {
        below = right;
        child += 1;
      }
      if (!earlier(below, last)) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function earlier(a: Task, b: Task): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.tie < b.tie);
}

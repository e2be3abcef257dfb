import type { Clock } from '@settlement/kernel/time';
import type { AcceptedIntent } from '../intent/intent';
import type { LaneShare } from './lane-parts';
import { affinityOf, packsOf } from './assignment.policy';

export interface ChainShareOptions {
  /** This process. */
  readonly owner: string;
  /** Processes that hold lanes of this chain and can plan, sorted; this one need not be among them. */
  readonly owners: () => readonly string[];
  readonly clock: Clock;
  /** What another process was expected to take is anybody's after this. Milliseconds. */
  readonly graceMs: number;
}

/** The lanes of one chain in this process, and how they share with other processes. */
export class ChainShare implements LaneShare {
  readonly #ready = new Map<string, number>();
  /** When this process first saw an intent that is somebody else's; forgotten with the intent. */
  readonly #seen = new WeakMap<AcceptedIntent, { readonly atMs: number; readonly owners: string; readonly mine: boolean }>();

  constructor(private readonly options: ChainShareOptions) {}

  mine(accepted: AcceptedIntent): boolean {
    const { owner, owners, clock, graceMs } = this.options;
    const live = owners();
    if (live.length <= 1 && (live.length === 0 || live[0] === owner)) return true;
    const signature = live.join(' ');
    const nowMs = clock.monotonicMs();
    let seen = this.#seen.get(accepted);
    if (seen?.owners !== signature) {
      seen = { atMs: seen?.atMs ?? nowMs, owners: signature, mine: affinityOf(accepted.intent.intentId, live) === owner };
      this.#seen.set(accepted, seen);
    }
    return seen.mine || nowMs - seen.atMs >= graceMs;
  }

  packsOf(laneId: string, packs: number): number {
    return packsOf(laneId, this.#ready, packs);
  }

  report(laneId: string, standing: { readonly inFlight: number } | undefined): void {
    if (standing === undefined) this.#ready.delete(laneId);
    else this.#ready.set(laneId, standing.inFlight);
  }
}

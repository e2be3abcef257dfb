import type { Clock } from '@settlement/kernel/time';
import type { ChainReader } from '../ports/chain-reader';
import { feesFor, type FeeLimits, type FeeObservation, type Fees } from './fee.policy';

/** Fees change by an eighth a block at most. Milliseconds. */
const FEE_AGE_MS_MAX = 1_000;

/** What the chain's fees are now; asked when somebody wants to know, and anew after a block or a second. */
export class LaneFees {
  #known: { readonly observation: FeeObservation; readonly atMs: number } | undefined;

  constructor(private readonly parts: { readonly reader: ChainReader; readonly clock: Clock; readonly settings: { readonly fees: FeeLimits } }) {}

  /** A block came: its fees are others. */
  outdated(): void {
    this.#known = undefined;
  }

  async observation(): Promise<FeeObservation> {
    const { reader, clock } = this.parts;
    const nowMs = clock.monotonicMs();
    if (this.#known === undefined || nowMs - this.#known.atMs > FEE_AGE_MS_MAX) this.#known = { observation: await reader.fees(), atMs: nowMs };
    return this.#known.observation;
  }

  /** What a new transaction offers; `undefined` while gas costs more than the ceiling. */
  async current(): Promise<Fees | undefined> {
    return feesFor(await this.observation(), this.parts.settings.fees);
  }
}

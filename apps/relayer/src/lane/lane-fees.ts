import type { Clock } from '@settlement/kernel/time';
import type { ChainReader } from '../ports/chain-reader';
import { feesFor, type FeeLimits, type Fees } from './fee.policy';

/** Fees change by an eighth a block at most. Milliseconds. */
const FEE_AGE_MS_MAX = 1_000;

/** What a transaction of this lane offers now; asked of the chain at most once a second. */
export class LaneFees {
  #known: { readonly fees: Fees | undefined; readonly atMs: number } | undefined;

  constructor(private readonly parts: { readonly reader: ChainReader; readonly clock: Clock; readonly settings: { readonly fees: FeeLimits } }) {}

  /** `undefined` while gas costs more than the ceiling. */
  async current(): Promise<Fees | undefined> {
    const { reader, settings, clock } = this.parts;
    const nowMs = clock.monotonicMs();
    if (this.#known === undefined || nowMs - this.#known.atMs > FEE_AGE_MS_MAX) {
      this.#known = { fees: feesFor(await reader.fees(), settings.fees), atMs: nowMs };
    }
    return this.#known.fees;
  }
}

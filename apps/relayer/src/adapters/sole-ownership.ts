import type { LaneOwnership } from '../ports/lane-ownership';

/**
 * One process owns every lane. What stops a second one is not this but the log: a nonce's stream can be created once only,
 * and an append of a region without the epoch is refused.
 */
export class SoleOwnership implements LaneOwnership {
  constructor(private readonly epoch: bigint) {}

  held(): { readonly fencingToken: bigint } {
    return { fencingToken: this.epoch };
  }
}

/**
 * Which lanes (one key on one chain each) this process may use now. Asked before each plan, signature and record: an owner
 * whose lease has run out by its own clock stops until it knows more.
 */
export interface LaneOwnership {
  /** `undefined` when this process cannot be sure to hold it. The token is checked with whatever the owner records. */
  held(laneId: string): { readonly fencingToken: bigint } | undefined;
}

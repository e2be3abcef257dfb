/**
 * Who may use a lane (one key on one chain). One owner at a time; a lease with a fencing token comes with more than one
 * process. Asked before each plan: an owner that is not sure any more stops.
 */
export interface LaneOwnership {
  /** `undefined` while another holds it. The token is recorded with what the owner does. */
  held(laneId: string): { readonly fencingToken: bigint } | undefined;
}

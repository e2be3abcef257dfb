/** A lane that this process may use until its own clock says otherwise. */
export interface Lease {
  readonly laneId: string;
  /** Grows with every acquisition of the lane, whoever acquires it. */
  readonly fencingToken: bigint;
  /** On this process's monotonic clock, counted from before the request was sent: never later than the lease table's own end. */
  readonly validUntilMs: number;
}

export interface LeaseRow {
  readonly laneId: string;
  /** Empty when released. */
  readonly owner: string;
  readonly fencingToken: bigint;
  /** By the lease table's clock. */
  readonly expiresAtNs: bigint;
  readonly expired: boolean;
}

/**
 * Who may use a lane. A lease ends by the lease table's own clock; the token of the last acquisition is what every record of
 * the lane is checked against, so a lease that has ended unnoticed cannot do harm. Throws `OperationalError`.
 */
export interface LaneLeases {
  /** `undefined` while another owner's lease runs. When it answers, every record under an older token is refused. */
  acquire(laneId: string, owner: string): Promise<Lease | undefined>;
  /** `undefined` when the lease is not this owner's under this token any more. */
  renew(lease: Lease, owner: string): Promise<Lease | undefined>;
  /** Ends the lease at once; harmless when it is not this owner's any more. */
  release(lease: Lease, owner: string): Promise<void>;
  list(): Promise<readonly LeaseRow[]>;
}

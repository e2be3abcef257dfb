/** Which processes of this relayer live, so that they share the lanes evenly. A hint only: leases decide. Throws `OperationalError`. */
export interface Replicas {
  /** Says that this one lives, for the length of a lease, and answers all that do, itself included, sorted. */
  present(owner: string): Promise<readonly string[]>;
  /** This one is going; harmless when it is gone already. */
  leave(owner: string): Promise<void>;
}

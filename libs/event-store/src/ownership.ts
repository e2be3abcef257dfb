/**
 * One process at a time works on a partition for a consumer. Only to save work that would be thrown away: what makes an effect
 * happen once is the watermark's row in the effect's transaction, whoever thinks that he owns what.
 */
export interface PartitionOwners {
  /**
   * Waits until this process owns partition `partition` of `partitions` for `name`; undefined when `signal` aborts first. Each
   * process takes a fair share of a name's partitions.
   */
  own(name: string, partition: number, partitions: number, signal: AbortSignal): Promise<Tenure | undefined>;
}

export interface Tenure {
  /** Aborts when the connection that held the claim is gone, or when another process is to have it: finish the batch, then release. */
  readonly ended: AbortSignal;
  /** Lets the next one in. Harmless when the tenure has ended. */
  release(): Promise<void>;
}

/** For a process that is alone: owns everything at once and for good. */
export const soleOwner: PartitionOwners = {
  own: (_name, _partition, _partitions, signal) => Promise.resolve(signal.aborted ? undefined : { ended: new AbortController().signal, release: () => Promise.resolve() }),
};

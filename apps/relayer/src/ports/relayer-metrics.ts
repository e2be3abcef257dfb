/** What operators watch. Units stand in the names. */
export interface RelayerMetrics {
  waiting(chainId: string, intents: number, oldestAgeS: number): void;
  lane(chainId: string, keyAddress: string, inFlight: number, nextNonce: bigint): void;
  broadcast(chainId: string, outcome: string): void;
  included(chainId: string, broadcastToIncludedMs: number): void;
  finalized(chainId: string, kind: string, executed: number, failed: number, gasUsed: bigint): void;
  unknownOutcome(what: string): void;
  /** `depth`: blocks below the head at which the block was that is gone. */
  reorged(chainId: string, depth: number): void;
  /** A block that was final is not canonical any more: nothing that was acted on is certain. */
  finalityViolated(chainId: string): void;
  /** The nonce was used by foreign bytes, at final depth. */
  displaced(chainId: string): void;
  replaced(chainId: string, kind: 'fees' | 'no-op'): void;
  /** Broadcasts that nobody has answered for, of one lane. */
  unknown(chainId: string, keyAddress: string, count: number, oldestAgeMs: number): void;
  /** Something waits because gas costs more than a ceiling allows: of a new `plan`, of a `transaction` or of the `hour`. */
  feeCeiling(chainId: string, what: 'plan' | 'transaction' | 'hour'): void;
  /** Versions of a nonce that were signed, when it is final. */
  attempts(chainId: string, count: number): void;
  reverted(chainId: string, intents: number): void;
  expired(chainId: string, intents: number): void;
  /** The reason that a lane is quarantined for; undefined ends it. */
  quarantined(chainId: string, keyAddress: string, reason: string | undefined): void;
  /** Intents that another lane had claimed first. */
  contested(chainId: string, intents: number): void;
}

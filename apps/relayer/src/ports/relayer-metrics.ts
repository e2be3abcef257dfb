/** What operators watch. Units stand in the names. */
export interface RelayerMetrics {
  waiting(chainId: string, intents: number, oldestAgeS: number): void;
  lane(chainId: string, keyAddress: string, inFlight: number, nextNonce: bigint): void;
  broadcast(chainId: string, outcome: string): void;
  included(chainId: string, broadcastToIncludedMs: number): void;
  finalized(chainId: string, kind: string, executed: number, failed: number, gasUsed: bigint): void;
  unknownOutcome(what: string): void;
  reorged(chainId: string): void;
  reverted(chainId: string, intents: number): void;
  expired(chainId: string, intents: number): void;
}

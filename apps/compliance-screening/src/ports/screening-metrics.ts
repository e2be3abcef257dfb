/** What operators watch. Holds list ids, verdicts and reasons; never a party. */
export interface ScreeningMetrics {
  decided(verdict: 'allow' | 'hold' | 'reject', count: number): void;
  /** Time to judge one call's items in memory, without the append. */
  judged(items: number, ms: number): void;
  unavailable(): void;
  listLoaded(listId: string, entries: number): void;
  listRefused(listId: string, reason: string): void;
  /** When the active version was last seen fresh; the age is taken when it is scraped. */
  listFresh(listId: string, freshAtNs: bigint): void;
}

export interface Comparison {
  /** `vault`, `token` or a merchant id. */
  readonly subject: string;
  readonly ledger: bigint;
  readonly chain: bigint;
}

export interface OpenBreak extends Comparison {
  readonly breakId: string;
}

export interface BreakChanges {
  readonly opened: readonly Comparison[];
  readonly closed: readonly OpenBreak[];
}

/**
 * Every difference, however small, is a break. One that has changed its size is closed and opened anew, so that the record
 * shows each size that it had; one that has vanished is closed.
 */
export function breakChanges(comparisons: readonly Comparison[], open: readonly OpenBreak[]): BreakChanges {
  const differing = new Map(comparisons.filter((c) => c.ledger !== c.chain).map((c) => [c.subject, c]));
  const standing = new Set(
    open.filter((b) => {
      const now = differing.get(b.subject);
      return now !== undefined && now.ledger - now.chain === b.ledger - b.chain;
    }),
  );
  const stillOpen = new Set([...standing].map((b) => b.subject));
  return {
    opened: [...differing.values()].filter((c) => !stillOpen.has(c.subject)),
    closed: open.filter((b) => !standing.has(b)),
  };
}

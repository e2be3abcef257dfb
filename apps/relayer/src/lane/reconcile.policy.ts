/** What the own log says of one open nonce. */
export interface OpenNonce {
  readonly nonce: bigint;
  readonly phase: 'planned' | 'signed' | 'included';
}

/** What does not fit, and why nothing new is planned until it does or somebody has looked. */
export type Disagreement =
  /** Nonces of this key were used by transactions that this log does not know: somebody else signs with it. */
  | { readonly kind: 'foreign'; readonly why: string }
  /** What is final in the own log is not on the chain: another chain, a node far behind, or one rolled back below its finality. */
  | { readonly kind: 'behind'; readonly why: string };

export interface Reconciliation {
  /** Where planning goes on: never at a nonce that the log or the chain has used. */
  readonly nextNonce: bigint;
  /** Planned, not signed: no bytes exist, so signing now cannot make a second version. */
  readonly sign: readonly bigint[];
  /** Signed, not mined: the recorded bytes go out again. */
  readonly broadcast: readonly bigint[];
  /** Mined while nobody looked: receipts tell, or say that it was somebody else's. */
  readonly look: readonly bigint[];
  /** Planned here, never signed, and used on the chain: their intents go back once the foreign bytes are final. */
  readonly displaced: readonly bigint[];
  /** Below the next nonce and known to nobody: without a transaction there, nothing later is ever mined. */
  readonly gaps: readonly bigint[];
  readonly disagreement: Disagreement | undefined;
}

export interface LogAndChain {
  readonly open: readonly OpenNonce[];
  /** Highest planned nonce + 1, or `undefined` for a key that was never used by this log: the chain's count is where it begins. */
  readonly nextNonceOfLog: bigint | undefined;
  /** The chain's latest count, never the node's pending one. */
  readonly chainCount: bigint;
  /** Of the nonces between the chain's count and the log's next one: those that the log has ended (final, or displaced). */
  readonly ended: ReadonlySet<bigint>;
}

/** Compares the own log of one key with the chain. Every combination has an outcome; none of them is to stop for ever. */
export function reconcile({ open, nextNonceOfLog, chainCount, ended }: LogAndChain): Reconciliation {
  const nothing = { sign: [], broadcast: [], look: [], displaced: [], gaps: [] };
  if (nextNonceOfLog === undefined) return { ...nothing, nextNonce: chainCount, disagreement: undefined };
  const known = new Set(open.map((it) => it.nonce));
  const gaps: bigint[] = [];
  const missing: bigint[] = [];
  for (let nonce = chainCount; nonce < nextNonceOfLog; nonce += 1n) {
    if (known.has(nonce)) continue;
    (ended.has(nonce) ? missing : gaps).push(nonce);
  }
  const displaced = open.filter((it) => it.phase === 'planned' && it.nonce < chainCount).map((it) => it.nonce);
  return {
    nextNonce: chainCount > nextNonceOfLog ? chainCount : nextNonceOfLog,
    sign: open.filter((it) => it.phase === 'planned' && it.nonce >= chainCount).map((it) => it.nonce),
    broadcast: open.filter((it) => it.phase !== 'planned' && it.nonce >= chainCount).map((it) => it.nonce),
    look: open.filter((it) => it.phase !== 'planned' && it.nonce < chainCount).map((it) => it.nonce),
    displaced,
    // While what is final is missing, nobody knows what the chain will count next.
    gaps: missing.length > 0 ? [] : gaps,
    disagreement: disagreementOf(nextNonceOfLog, chainCount, displaced, missing),
  };
}

function disagreementOf(nextNonceOfLog: bigint, chainCount: bigint, displaced: readonly bigint[], missing: readonly bigint[]): Disagreement | undefined {
  const [lost] = missing;
  if (lost !== undefined) return { kind: 'behind', why: `nonce ${lost} has ended in the own log, but the chain counts only ${chainCount} transactions of this key` };
  if (chainCount > nextNonceOfLog) return { kind: 'foreign', why: `the chain counts ${chainCount} transactions of this key, the own log only ${nextNonceOfLog}` };
  const [early] = displaced;
  return early === undefined ? undefined : { kind: 'foreign', why: `nonce ${early} was never signed here, yet the chain has used it` };
}

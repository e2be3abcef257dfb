/** What the own log says of one open nonce. */
export interface OpenNonce {
  readonly nonce: bigint;
  readonly phase: 'planned' | 'signed' | 'included';
}

export type Reconciliation =
  | {
      readonly outcome: 'agreed';
      readonly nextNonce: bigint;
      /** Planned, not signed: no bytes exist, so signing now cannot make a second version. */
      readonly sign: readonly bigint[];
      /** Signed, not mined: the recorded bytes go out again. */
      readonly broadcast: readonly bigint[];
      /** Mined while nobody looked: receipts tell. */
      readonly look: readonly bigint[];
    }
  | { readonly outcome: 'foreign'; readonly nonce: bigint; readonly why: string }
  | { readonly outcome: 'hole'; readonly nonce: bigint; readonly why: string };

/**
 * Compares the own log of one key with the chain's latest count (never the node's pending one). `nextNonceOfLog` is the highest
 * planned nonce + 1, or `undefined` for a key that was never used by this log: then the chain's count is where it begins.
 */
export function reconcile(open: readonly OpenNonce[], nextNonceOfLog: bigint | undefined, chainCount: bigint): Reconciliation {
  if (nextNonceOfLog === undefined) return { outcome: 'agreed', nextNonce: chainCount, sign: [], broadcast: [], look: [] };
  if (chainCount > nextNonceOfLog) {
    return { outcome: 'foreign', nonce: nextNonceOfLog, why: `the chain counts ${chainCount} transactions of this key, the own log only ${nextNonceOfLog}` };
  }
  const known = new Map(open.map((it) => [it.nonce, it.phase]));
  for (let nonce = chainCount; nonce < nextNonceOfLog; nonce += 1n) {
    // Final in the log and yet not on the chain: another chain, or one that was rolled back below its finality.
    if (!known.has(nonce)) return { outcome: 'hole', nonce, why: `nonce ${nonce} is final in the own log, but the chain counts only ${chainCount}` };
  }
  const early = open.find((it) => it.phase === 'planned' && it.nonce < chainCount);
  if (early !== undefined) {
    return { outcome: 'foreign', nonce: early.nonce, why: `nonce ${early.nonce} was never signed here, yet the chain has used it` };
  }
  return {
    outcome: 'agreed',
    nextNonce: nextNonceOfLog,
    sign: open.filter((it) => it.phase === 'planned').map((it) => it.nonce),
    broadcast: open.filter((it) => it.phase !== 'planned' && it.nonce >= chainCount).map((it) => it.nonce),
    look: open.filter((it) => it.phase !== 'planned' && it.nonce < chainCount).map((it) => it.nonce),
  };
}

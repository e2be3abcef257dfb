/** What this process knows of bytes that it has sent; nothing that must survive it. */
interface Sent {
  readonly transactionId: string;
  /** The head when they first went out; `undefined` until a head is known. */
  firstBlock: bigint | undefined;
  /** Since when nobody has said what became of them, monotonic; `undefined` when the last broadcast was answered. */
  unknownSinceMs: number | undefined;
}

/** When each attempt went out, and which of them nobody has answered for. */
export class AttemptTracking {
  readonly #sent = new Map<string, Sent>();

  /** After each broadcast of these bytes. */
  record(transactionId: string, transactionHash: string, headNumber: bigint | undefined, isUnknown: boolean, nowMs: number): void {
    const before = this.#sent.get(transactionHash);
    this.#sent.set(transactionHash, {
      transactionId,
      firstBlock: before?.firstBlock ?? headNumber,
      unknownSinceMs: isUnknown ? (before?.unknownSinceMs ?? nowMs) : undefined,
    });
  }

  /** Blocks since these bytes, and since the first bytes of their transaction, went out; `undefined` when this process has not sent them. */
  blocksSince(transactionHash: string, headNumber: bigint): { readonly ofAttempt: bigint; readonly ofAll: bigint } | undefined {
    const sent = this.#sent.get(transactionHash);
    if (sent === undefined) return undefined;
    sent.firstBlock ??= headNumber;
    let first = sent.firstBlock;
    for (const other of this.#sent.values()) if (other.transactionId === sent.transactionId && other.firstBlock !== undefined && other.firstBlock < first) first = other.firstBlock;
    return { ofAttempt: nonNegative(headNumber - sent.firstBlock), ofAll: nonNegative(headNumber - first) };
  }

  /** The chain has spoken: nothing of it is unknown any more. Its ages stay, should a reorg take the block back. */
  answered(transactionId: string): void {
    for (const sent of this.#sent.values()) if (sent.transactionId === transactionId) sent.unknownSinceMs = undefined;
  }

  forget(transactionId: string): void {
    for (const [hash, sent] of this.#sent) if (sent.transactionId === transactionId) this.#sent.delete(hash);
  }

  unknown(nowMs: number): { readonly count: number; readonly oldestAgeMs: number } {
    let count = 0;
    let oldestAgeMs = 0;
    for (const { unknownSinceMs } of this.#sent.values()) {
      if (unknownSinceMs === undefined) continue;
      count += 1;
      oldestAgeMs = Math.max(oldestAgeMs, nowMs - unknownSinceMs);
    }
    return { count, oldestAgeMs };
  }
}

/** A reorg may leave a lower head behind. */
function nonNegative(blocks: bigint): bigint {
  return blocks > 0n ? blocks : 0n;
}

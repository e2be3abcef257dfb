import { createHash } from 'node:crypto';
import type { Randomness } from '@settlement/kernel/ids';

/** Bytes that depend on seed and label alone: SHA-256 in counter mode. For a demo that repeats; never for real keys. */
export class SeededRandom implements Randomness {
  private counter = 0;
  private pool: Uint8Array = new Uint8Array(0);

  constructor(
    private readonly seed: number,
    private readonly label: string,
  ) {}

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      if (this.pool.length === 0) {
        this.pool = new Uint8Array(createHash('sha256').update(`${this.label}/${this.seed}/${this.counter}`).digest());
        this.counter += 1;
      }
      const taken = this.pool.subarray(0, length - filled);
      out.set(taken, filled);
      filled += taken.length;
      this.pool = this.pool.subarray(taken.length);
    }
    return out;
  }

  /** In [0, bound). The bias of the remainder is below 2^-40 for every bound used here. */
  below(bound: number): number {
    let value = 0n;
    for (const byte of this.bytes(8)) value = (value << 8n) | BigInt(byte);
    return Number(value % BigInt(bound));
  }
}

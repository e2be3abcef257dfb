/**
 * All chance of a simulation: one seed, one sequence, on every machine. The generator is sfc32 (small fast counting, 128 bits
 * of state), seeded through splitmix32 so that neighbouring seeds have nothing in common. Integers only, so no rounding
 * differs between machines.
 */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    let state = seed >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    for (let round = 0; round < 12; round += 1) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** `from` to `to`, both included. */
  int(from: number, to: number): number {
    return from + (this.u32() % (to - from + 1));
  }

  /** True in `perMille` of a thousand cases. */
  chance(perMille: number): boolean {
    return this.u32() % 1_000 < perMille;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.u32() % items.length];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let last = out.length - 1; last > 0; last -= 1) {
      const other = this.u32() % (last + 1);
      const [a, b] = [out[last], out[other]];
      if (a === undefined || b === undefined) continue;
      out[last] = b;
      out[other] = a;
    }
    return out;
  }

  /** `0x` and that many random bytes. */
  hex(bytes: number): `0x${string}` {
    let out = '';
    while (out.length < bytes * 2) out += this.u32().toString(16).padStart(8, '0');
    return `0x${out.slice(0, bytes * 2)}`;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() & 255);
  }
}

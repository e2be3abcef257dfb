/**
 * What happened, as a hash that two runs of one seed must share, and as text when a person wants to read it. The hash is two
 * independent 32-bit rolling hashes: it tells runs apart, it protects nothing.
 */
export class Trace {
  #left = 0x811c9dc5;
  #right = 0x9747b28c;
  #steps = 0;

  /** `print` is absent in the ten thousands of runs that nobody reads. */
  constructor(private readonly print?: (line: string) => void) {}

  get steps(): number {
    return this.#steps;
  }

  get hash(): string {
    return (this.#left >>> 0).toString(16).padStart(8, '0') + (this.#right >>> 0).toString(16).padStart(8, '0');
  }

  step(atUs: number, label: string): void {
    this.#steps += 1;
    this.#mix(atUs >>> 0);
    for (let index = 0; index < label.length; index += 1) this.#mix(label.charCodeAt(index));
    if (this.print !== undefined) this.print(`${(atUs / 1_000).toFixed(3).padStart(12)} ms  ${label}`);
  }

  /** Beside a step: for readers only, where making the text costs. */
  note(text: () => string): void {
    if (this.print !== undefined) this.print(`${' '.repeat(17)}${text()}`);
  }

  #mix(word: number): void {
    this.#left = Math.imul(this.#left ^ word, 0x01000193);
    this.#right = Math.imul(this.#right ^ word, 0x5bd1e995) ^ (this.#right >>> 15);
  }
}

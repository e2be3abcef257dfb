import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SandboxListEntries {
  /** Digital-currency addresses, as `ETH 0x…`; an address without a ticker counts as ETH. */
  readonly addresses: readonly string[];
  /** Primary names, as `FAMILY, Given`. */
  readonly names: readonly string[];
}

/**
 * Writes a watch list in OFAC's file format (sdn.csv, add.csv, alt.csv, sdn_comments.csv) into `directory`, which is created.
 * The entries are invented and say so: each name carries the word SANDBOX in its program, and the version file begins with
 * `sandbox`. Files appear one by one under their final names, complete each.
 */
export function writeSandboxList(directory: string, { addresses, names }: SandboxListEntries, version = 'sandbox-1'): void {
  mkdirSync(directory, { recursive: true });
  const sdn: string[] = [];
  const add: string[] = [];
  const alt: string[] = [];
  const entry = (name: string, kind: string, remarks: string): void => {
    const entNum = 900_001 + sdn.length;
    sdn.push(`${entNum},${quoted(name)},${kind},"SANDBOX",${NONE},${NONE},${NONE},${NONE},${NONE},${NONE},${NONE},${remarks === '' ? NONE : quoted(remarks)}`);
    add.push(`${entNum},${entNum},${NONE},${NONE},${NONE},${NONE}`);
    alt.push(`${entNum},${entNum},"aka",${quoted(`${name} (sandbox alias)`)},${NONE}`);
  };
  for (const name of names) entry(name, '"individual"', 'Not a real person; for tests and demonstrations.');
  for (const [index, address] of addresses.entries()) {
    const [first = '', second] = address.split(' ');
    const [ticker, text] = second === undefined ? ['ETH', first] : [first, second];
    entry(`SANDBOX WALLET ${index + 1}`, NONE, `Digital Currency Address - ${ticker} ${text}; not a real listing.`);
  }
  const files = { 'add.csv': add, 'alt.csv': alt, 'sdn_comments.csv': [] as string[], 'sdn.csv': sdn };
  for (const [name, rows] of Object.entries(files)) write(directory, name, rows.map((row) => `${row}\r\n`).join('') + END_MARK);
  write(directory, 'version', `${version}\n`);
}

const NONE = '-0- ';
const END_MARK = '\u001a';

function quoted(text: string): string {
  return `"${text.replaceAll('"', "'")}"`;
}

function write(directory: string, name: string, text: string): void {
  const partial = join(directory, `.${name}.partial`);
  writeFileSync(partial, text);
  renameSync(partial, join(directory, name));
}

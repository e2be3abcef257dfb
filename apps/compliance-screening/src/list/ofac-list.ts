import { hasBase58Checksum } from '../matching/base58-check';
import { parseOfacCsv, type CsvRows } from './ofac-csv';
import type { ListAddress, ListAlias, ListContent, ListEntry, ListFile } from './list-content';

export type ListDefect = 'EMPTY' | 'TRUNCATED' | 'MALFORMED';

export type ParsedList =
  | { readonly ok: true; readonly content: ListContent }
  | { readonly ok: false; readonly reason: ListDefect; readonly detail: string };

/** Columns of each file, from OFAC's "SDN data formats" specification (dat_spec). */
const COLUMNS = { 'sdn.csv': 12, 'add.csv': 6, 'alt.csv': 5, 'sdn_comments.csv': 2 } as const;
type OfacFile = keyof typeof COLUMNS;

const ADDRESS_FILE = /^sanctioned_addresses_([A-Za-z0-9]{2,12})\.txt$/;

/** `Digital Currency Address - ETH 0x…;`, also with `alt.` before it. The address ends at `;`, at a full stop or at the end. */
const REMARK_ADDRESS = /Digital Currency Address\s*-\s*([A-Z0-9]{2,12})\s+([A-Za-z0-9]+)/g;

/** With fewer base58 addresses than this a single typing error of the publisher could weigh more than the list. */
const CHECKED_ADDRESSES_MIN = 5;

/** Files that make up a list; others in the folder (a README, a partial download) are not read and not hashed. */
export function isListFile(name: string): boolean {
  return Object.hasOwn(COLUMNS, name) || ADDRESS_FILE.test(name);
}

/**
 * Reads an OFAC SDN set and plain address files into entries. The remark of an entry that is too long for sdn.csv continues
 * in sdn_comments.csv in mid-word, so the two are joined without a separator before addresses are looked for.
 *
 * Refused as TRUNCATED: a record that is cut off, rows of add, alt or comments whose entry is missing in sdn.csv, and a file
 * without OFAC's end mark in a set whose other files have it. Refused as MALFORMED: also a list most of whose base58 addresses
 * have a wrong checksum, as public copies that were lower-cased have.
 */
export function parseList(files: readonly ListFile[]): ParsedList {
  if (files.length === 0) return defect('EMPTY', 'no list file in the folder');
  for (const file of files) {
    if (file.bytes.byteLength === 0) return defect('EMPTY', `${file.name} has no bytes`);
  }
  const decoded = new Map(files.map((file) => [file.name, decode(file.bytes)]));

  const tables = new Map<OfacFile, Extract<CsvRows, { ok: true }>>();
  for (const name of ['sdn.csv', 'add.csv', 'alt.csv', 'sdn_comments.csv'] as const) {
    const text = decoded.get(name);
    if (text === undefined) continue;
    const table = parseOfacCsv(name, text, COLUMNS[name]);
    if (!table.ok) return defect(table.problem.kind === 'truncated' ? 'TRUNCATED' : 'MALFORMED', table.problem.detail);
    tables.set(name, table);
  }
  const sdn = tables.get('sdn.csv');
  if (sdn === undefined && tables.size > 0) return defect('TRUNCATED', `${[...tables.keys()].join(', ')} without sdn.csv`);
  if (sdn !== undefined && sdn.rows.length === 0) return defect('EMPTY', 'sdn.csv has no records');
  const unmarked = (['sdn.csv', 'add.csv', 'alt.csv'] as const).filter((name) => tables.get(name)?.endMarked === false);
  const marked = (['sdn.csv', 'add.csv', 'alt.csv'] as const).filter((name) => tables.get(name)?.endMarked === true);
  // The comments file is left out of this rule: OFAC writes it with and without the mark.
  if (marked.length > 0 && unmarked.length > 0) {
    return defect('TRUNCATED', `${unmarked.join(', ')} ends without the end mark 0x1A that ${marked.join(', ')} has`);
  }

  const linked = linkEntries(tables);
  if (!linked.ok) return linked;
  const fileEntries = addressFileEntries(decoded);
  if (!fileEntries.ok) return fileEntries;
  const entries = [...linked.entries, ...fileEntries.entries];
  if (entries.length === 0) return defect('EMPTY', 'no entry and no address');

  const remarkAddresses = new Set(linked.entries.flatMap((entry) => entry.addresses.map(({ ticker, address }) => `${ticker} ${address}`))).size;
  const checks = entries.flatMap((entry) => entry.addresses.map(({ ticker, address }) => hasBase58Checksum(ticker, address))).filter((sound) => sound !== undefined);
  const unsoundAddresses = checks.filter((sound) => !sound).length;
  if (checks.length >= CHECKED_ADDRESSES_MIN && unsoundAddresses * 2 > checks.length) {
    return defect('MALFORMED', `${unsoundAddresses} of ${checks.length} base58 addresses have a wrong checksum; some tool has changed their letter case`);
  }
  const fileAddresses = fileEntries.entries.reduce((count, entry) => count + entry.addresses.length, 0);
  const rows = (name: OfacFile): number => tables.get(name)?.rows.length ?? 0;
  return {
    ok: true,
    content: {
      entries,
      counts: {
        entries: rows('sdn.csv') + fileAddresses,
        sdn: rows('sdn.csv'),
        add: rows('add.csv'),
        alt: rows('alt.csv'),
        comments: rows('sdn_comments.csv'),
        remarkAddresses,
        fileAddresses,
        unsoundAddresses,
      },
      fileNames: [...decoded.keys()].sort(),
      endMarked: [...tables].filter(([, table]) => table.endMarked).map(([name]) => name).sort(),
    },
  };
}

function defect(reason: ListDefect, detail: string): { readonly ok: false; readonly reason: ListDefect; readonly detail: string } {
  return { ok: false, reason, detail };
}

/** OFAC exports ASCII and, in newer files, UTF-8; older third-party copies hold Latin-1, which is never valid UTF-8 by chance. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return new TextDecoder('latin1').decode(bytes);
  }
}

function linkEntries(
  tables: ReadonlyMap<OfacFile, Extract<CsvRows, { ok: true }>>,
): { readonly ok: true; readonly entries: readonly ListEntry[] } | Extract<ParsedList, { ok: false }> {
  const sdnRows = tables.get('sdn.csv')?.rows ?? [];
  const known = new Set<string>();
  for (const [index, row] of sdnRows.entries()) {
    const [entNum, name] = row;
    if (typeof entNum !== 'string' || !/^[0-9]+$/.test(entNum) || typeof name !== 'string' || name.trim() === '') {
      return defect('MALFORMED', `sdn.csv, record ${index + 1}: expected an entry number and a name`);
    }
    if (known.has(entNum)) return defect('MALFORMED', `sdn.csv, record ${index + 1}: entry ${entNum} stands there twice`);
    known.add(entNum);
  }
  for (const name of ['add.csv', 'alt.csv', 'sdn_comments.csv'] as const) {
    const orphan = tables.get(name)?.rows.find(([entNum]) => !known.has(entNum ?? ''));
    if (orphan !== undefined) return defect('TRUNCATED', `${name} names entry ${orphan[0] ?? '(none)'}, which sdn.csv does not have`);
  }

  const aliases = new Map<string, ListAlias[]>();
  for (const [entNum, altNum, kind, name] of tables.get('alt.csv')?.rows ?? []) {
    if (typeof entNum !== 'string' || typeof name !== 'string') continue;
    const alias = { altNum: altNum ?? '', kind: kind ?? '', name };
    const of = aliases.get(entNum);
    if (of === undefined) aliases.set(entNum, [alias]);
    else of.push(alias);
  }
  const comments = new Map<string, string>();
  for (const [entNum, text] of tables.get('sdn_comments.csv')?.rows ?? []) {
    if (typeof entNum === 'string') comments.set(entNum, (comments.get(entNum) ?? '') + (text ?? ''));
  }

  const entries = sdnRows.map((row): ListEntry => {
    const [entNum, name, kind, program] = row;
    const entryId = entNum ?? '';
    return {
      entryId,
      name: name ?? '',
      kind: kind ?? '',
      // Several programs stand as `DPRK3] [CYBER2`.
      programs: program === null || program === undefined ? [] : program.split('] ['),
      aliases: aliases.get(entryId) ?? [],
      addresses: remarkAddresses((row[11] ?? '') + (comments.get(entryId) ?? '')),
    };
  });
  return { ok: true, entries };
}

function remarkAddresses(remarks: string): readonly ListAddress[] {
  if (!remarks.includes('Digital Currency')) return NONE;
  const found: ListAddress[] = [];
  for (const [, ticker, address] of remarks.matchAll(REMARK_ADDRESS)) {
    if (ticker !== undefined && address !== undefined) found.push({ ticker, address });
  }
  return found;
}

const NONE: readonly ListAddress[] = [];

/** One address a line; one entry a file, since a plain file does not say whose address it is. Lines with `#` are remarks. */
function addressFileEntries(
  decoded: ReadonlyMap<string, string>,
): { readonly ok: true; readonly entries: readonly ListEntry[] } | Extract<ParsedList, { ok: false }> {
  const entries: ListEntry[] = [];
  for (const [fileName, text] of decoded) {
    const ticker = ADDRESS_FILE.exec(fileName)?.[1];
    if (ticker === undefined) continue;
    const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
    if (lines.length === 0) return defect('EMPTY', `${fileName} has no address`);
    const strange = lines.findIndex((line) => !/^[A-Za-z0-9:]{20,128}$/.test(line));
    if (strange !== -1) return defect('MALFORMED', `${fileName}, line ${strange + 1}: expected one address a line`);
    entries.push({
      entryId: fileName,
      name: `Digital currency addresses (${ticker.toUpperCase()})`,
      kind: '',
      programs: [],
      aliases: [],
      addresses: lines.map((address) => ({ ticker: ticker.toUpperCase(), address })),
    });
  }
  return { ok: true, entries };
}

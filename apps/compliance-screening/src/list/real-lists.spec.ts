import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { canonicalAddress } from '../matching/canonical-address';
import { indexList } from '../matching/list-index';
import { normalisedName } from '../matching/normalised-name';
import type { ListFile } from './list-content';
import { DEFAULT_GUARD, guardVersion } from './list-guard';
import { shapeOf } from './list-registry';
import { parseList } from './ofac-list';

const DATA = resolve(process.cwd(), '../shared/data/sanctions');
const present = existsSync(DATA);
if (!present) process.stderr.write(`\n!!! REAL SANCTIONS DATA ABSENT (${DATA}): the tests of OFAC's own files are not run\n\n`);

const unpacked = (path: string): Uint8Array => {
  const { status, stdout, stderr } = spawnSync('xz', ['-dc', join(DATA, path)], { maxBuffer: 256 << 20 });
  if (status !== 0) throw new Error(`xz ${path}: ${stderr.toString()}`);
  return stdout;
};
const ofacSet = (date: string, names: readonly string[]): readonly ListFile[] =>
  names.map((name) => ({ name: `${name}.csv`, bytes: unpacked(`ofac/${date}_${name}.csv.xz`) }));
const content = (files: readonly ListFile[]) => {
  const parsed = parseList(files);
  if (!parsed.ok) throw new Error(`${parsed.reason}: ${parsed.detail}`);
  return parsed.content;
};

describe.runIf(present)('real lists', () => {
  const set2021 = (): readonly ListFile[] => ofacSet('2021-07-07', ['sdn', 'add', 'alt', 'sdn_comments']);

  it('reads the whole set of 2021-07-07', () => {
    expect(content(set2021()).counts).toEqual({ entries: 8_976, sdn: 8_976, add: 13_837, alt: 11_910, comments: 5, remarkAddresses: 96, fileAddresses: 0, unsoundAddresses: 0 });
  });

  it('reads the set of 2019-01-15, which an editor has rewritten', () => {
    expect(content(ofacSet('2019-01-15', ['sdn', 'add', 'alt'])).counts).toMatchObject({ sdn: 7_379, add: 11_696, alt: 9_682 });
  });

  it('takes 250 successive versions through the guard, and refuses none', { timeout: 120_000 }, () => {
    const lines = Buffer.from(unpacked('ofac/sdn_history_2021-08-18_to_2023-12-05.ndjson.xz')).toString('utf8').trimEnd().split('\n');
    const entNum = (row: string): number => Number(row.slice(0, row.indexOf(',')));
    const rows = new Map<number, string>();
    let active: ReturnType<typeof shapeOf> | undefined;
    let versions = 0;
    for (const line of lines) {
      const version = JSON.parse(line) as { records: number; full?: string[]; added?: string[]; removed?: string[]; changed?: string[] };
      for (const row of [...(version.full ?? []), ...(version.added ?? []), ...(version.changed ?? [])]) rows.set(entNum(row), row);
      for (const removed of version.removed ?? []) rows.delete(Number(removed));
      const text = `${[...rows.values()].join('\r\n')}\r\n\u001a`;
      const next = shapeOf(content([{ name: 'sdn.csv', bytes: Buffer.from(text, 'utf8') }]));
      expect(next.counts.sdn).toBe(version.records);
      expect(guardVersion(next, active, DEFAULT_GUARD)).toBeUndefined();
      active = next;
      versions += 1;
    }
    expect(versions).toBe(250);
    expect(active?.counts.sdn).toBe(13_479);
  });

  it('refuses the real set cut to 99, 90 and 50 per cent, in each of its files', () => {
    const files = set2021();
    for (const { name } of files.slice(0, 3)) {
      for (const percent of [99, 90, 50]) {
        const cut = files.map((file) => (file.name === name ? { name, bytes: file.bytes.subarray(0, Math.floor((file.bytes.byteLength * percent) / 100)) } : file));
        expect(parseList(cut), `${name} at ${percent} %`).toMatchObject({ ok: false });
      }
    }
  });

  it('refuses a well-formed list that has shrunk by more than a tenth', () => {
    const full = content(set2021());
    const rows = Buffer.from(set2021()[0]?.bytes ?? []).toString('latin1').split('\r\n');
    const shrunk = content([{ name: 'sdn.csv', bytes: Buffer.from(`${rows.slice(0, 8_000).join('\r\n')}\r\n\u001a`, 'latin1') }]);
    const sdnOnly = { ...shapeOf(full), fileNames: ['sdn.csv'], endMarked: ['sdn.csv'], counts: { ...full.counts, add: 0, alt: 0 } };
    expect(guardVersion(shapeOf(shrunk), sdnOnly, DEFAULT_GUARD)).toMatchObject({ reason: 'SHRUNK' });
  });

  it('finds each listed address, and a listed person by name in any order and case', () => {
    const list = content(set2021());
    const index = indexList(list);
    const addresses = list.entries.flatMap((entry) => entry.addresses);
    // One is listed for two entries, so 97 mentions of 96 addresses.
    expect(addresses).toHaveLength(97);
    for (const { address } of addresses) expect(index.address(canonicalAddress(address))[0]?.matchedOn).toBe('address');
    // Ethereum address of entry 29584, in the letter case of no list.
    expect(index.address(canonicalAddress('0x7F367CC41522CE07553E823BF3BE79A889DEBE1B'))[0]?.entry.entryId).toBe('29584');
    expect(index.name(normalisedName('danil potekhin'))[0]).toMatchObject({ entry: { entryId: '29584' }, matchedOn: 'name' });
    expect(index.name(normalisedName('Aero-Caribbean'))[0]).toMatchObject({ entry: { entryId: '36' }, matchedOn: 'alias:12' });
    expect(index.name(normalisedName('Jane Doe'))).toEqual([]);
  });

  it('reads the plain address files: 654 rows', () => {
    const folder = join(DATA, 'crypto-addresses/0xB10C_2024-09-27');
    const files = readdirSync(folder).map((name): ListFile => ({ name, bytes: readFileSync(join(folder, name)) }));
    const list = content(files);
    expect(list.counts).toMatchObject({ entries: 654, fileAddresses: 654, unsoundAddresses: 0 });
    const index = indexList(list);
    expect(index.address(canonicalAddress('0x01E2919679362DFBC9EE1644BA9C6DA6D6245BB1'))).toHaveLength(1);
  });

  it('refuses a list whose base58 addresses somebody lower-cased, and would match nobody with it', () => {
    const folder = join(DATA, 'crypto-addresses/0xB10C_2024-09-27');
    const right = readFileSync(join(folder, 'sanctioned_addresses_XBT.txt'), 'utf8').split('\n').filter((line) => /^[13]/.test(line));
    const loweredFile = { name: 'sanctioned_addresses_XBT.txt', bytes: Buffer.from(right.join('\n').toLowerCase()) };
    expect(parseList([loweredFile])).toMatchObject({ ok: false, reason: 'MALFORMED' });
    // Even if it had been let through: four of its lines are too few for a judgement, and match nobody.
    const lowered = indexList(content([{ ...loweredFile, bytes: Buffer.from(right.slice(0, 4).join('\n').toLowerCase()) }]));
    for (const address of right) expect(lowered.address(canonicalAddress(address)), address).toEqual([]);
    // And the other way round: a lower-cased query is another address than the listed one.
    const listed = indexList(content([{ name: 'sanctioned_addresses_XBT.txt', bytes: Buffer.from(right.join('\n')) }]));
    for (const address of right) expect(listed.address(canonicalAddress(address.toLowerCase())), address).toEqual([]);
  });
});

import { describe, expect, it } from 'vitest';
import type { ListFile } from './list-content';
import { parseList } from './ofac-list';

const NONE = '-0- ';
const file = (name: string, text: string): ListFile => ({ name, bytes: new TextEncoder().encode(text) });
const sdnRow = (entNum: number, name: string, remarks = NONE, program = '"CYBER2"'): string =>
  `${entNum},"${name}",${NONE},${program},${NONE},${NONE},${NONE},${NONE},${NONE},${NONE},${NONE},${remarks}\r\n`;
const END = '\u001a';
const sdn = (...rows: string[]): ListFile => file('sdn.csv', rows.join('') + END);

describe('OFAC list', () => {
  it('reads entries with programs, aliases and addresses', () => {
    const parsed = parseList([
      sdn(sdnRow(36, 'AEROCARIBBEAN AIRLINES', NONE, '"CUBA"'), sdnRow(28263, 'TIAN, Yinyin', '"Gender Male; Digital Currency Address - XBT 134r8iHv69xdT6p5qVKTsHrcUEuBVZAYak; alt. Digital Currency Address - ETH 0x7F367cC41522cE07553e823bf3be79A889DEbe1B; a.k.a. \'x\'."', '"DPRK3] [CYBER2"')),
      file('alt.csv', `36,12,"aka","AERO-CARIBBEAN",-0- \r\n${END}`),
      file('add.csv', `36,25,-0- ,"Havana","Cuba",-0- \r\n${END}`),
    ]);
    expect(parsed).toMatchObject({
      ok: true,
      content: {
        counts: { entries: 2, sdn: 2, add: 1, alt: 1, comments: 0, remarkAddresses: 2, fileAddresses: 0, unsoundAddresses: 0 },
        endMarked: ['add.csv', 'alt.csv', 'sdn.csv'],
        entries: [
          { entryId: '36', name: 'AEROCARIBBEAN AIRLINES', programs: ['CUBA'], aliases: [{ altNum: '12', kind: 'aka', name: 'AERO-CARIBBEAN' }] },
          {
            entryId: '28263',
            programs: ['DPRK3', 'CYBER2'],
            addresses: [
              { ticker: 'XBT', address: '134r8iHv69xdT6p5qVKTsHrcUEuBVZAYak' },
              { ticker: 'ETH', address: '0x7F367cC41522cE07553e823bf3be79A889DEbe1B' },
            ],
          },
        ],
      },
    });
  });

  it('joins a remark with its continuation in the comments, also in the middle of a word', () => {
    const parsed = parseList([
      sdn(sdnRow(29703, 'SOMEBODY', '"DOB 1990; Digital Currency Addres"')),
      file('sdn_comments.csv', '29703,"s - ETH 0x8576acc5c05d6ce88f4e49bf65bdf0c62f91353c; Phone Number 7."\r\n'),
    ]);
    expect(parsed).toMatchObject({ ok: true, content: { entries: [{ addresses: [{ ticker: 'ETH', address: '0x8576acc5c05d6ce88f4e49bf65bdf0c62f91353c' }] }] } });
  });

  it('reads a set that some tool has rewritten: LF, no end mark, no last line end', () => {
    const parsed = parseList([file('sdn.csv', (sdnRow(1, 'A') + sdnRow(2, 'B')).replaceAll('\r\n', '\n').trimEnd()), file('alt.csv', '1,5,"aka","AA",-0-')]);
    expect(parsed).toMatchObject({ ok: true, content: { counts: { sdn: 2, alt: 1 } } });
  });

  it('reads plain address files, one entry a file', () => {
    const parsed = parseList([file('sanctioned_addresses_XBT.txt', '# comment\n123WBUDmSJv4GctdVEz6Qq6z8nXSKrJ4KX\n\n125W5ek3DT6Zqy5S2iPt4FHQdNMCbZA3FU\n')]);
    expect(parsed).toMatchObject({ ok: true, content: { counts: { entries: 2, fileAddresses: 2 }, entries: [{ entryId: 'sanctioned_addresses_XBT.txt' }] } });
  });

  it('refuses a file without bytes, as OFAC served it on 2024-05-04', () => {
    expect(parseList([file('sdn.csv', '')])).toMatchObject({ ok: false, reason: 'EMPTY' });
    expect(parseList([sdn(sdnRow(1, 'A')), file('alt.csv', '')])).toMatchObject({ ok: false, reason: 'EMPTY', detail: 'alt.csv has no bytes' });
    expect(parseList([])).toMatchObject({ ok: false, reason: 'EMPTY' });
  });

  it('refuses a list that is only an end mark', () => {
    expect(parseList([file('sdn.csv', END)])).toMatchObject({ ok: false, reason: 'EMPTY' });
  });

  it('refuses a file that is cut at any byte before its last line end', () => {
    const whole = sdnRow(1, 'A', '"one; two."') + sdnRow(2, 'B', '"three."');
    const alt = file('alt.csv', `2,5,"aka","BB",-0- \r\n${END}`);
    for (let length = 1; length < whole.length; length += 1) {
      const parsed = parseList([file('sdn.csv', whole.slice(0, length)), alt]);
      expect(parsed.ok, `cut behind ${length} of ${whole.length} bytes`).toBe(false);
    }
  });

  it('refuses rows whose entry is missing', () => {
    expect(parseList([sdn(sdnRow(1, 'A')), file('add.csv', `1,1,-0- ,-0- ,-0- ,-0- \r\n7,2,-0- ,-0- ,-0- ,-0- \r\n${END}`)])).toMatchObject({
      ok: false,
      reason: 'TRUNCATED',
      detail: 'add.csv names entry 7, which sdn.csv does not have',
    });
  });

  it('refuses a set of which one file has lost its end mark', () => {
    expect(parseList([sdn(sdnRow(1, 'A')), file('alt.csv', '1,5,"aka","AA",-0- \r\n')])).toMatchObject({ ok: false, reason: 'TRUNCATED' });
  });

  it('refuses an HTML page under the name of the list', () => {
    expect(parseList([file('sdn.csv', '<!DOCTYPE html>\n<html><body>Service moved</body></html>\n')])).toMatchObject({ ok: false, reason: 'MALFORMED' });
  });

  it('refuses entry numbers that repeat or are none', () => {
    expect(parseList([sdn(sdnRow(1, 'A'), sdnRow(1, 'B'))])).toMatchObject({ ok: false, reason: 'MALFORMED' });
    expect(parseList([file('sdn.csv', sdnRow(1, 'A').replace('1,', 'x,'))])).toMatchObject({ ok: false, reason: 'MALFORMED' });
  });

  it('refuses an address file with something else in it', () => {
    expect(parseList([file('sanctioned_addresses_ETH.txt', '404: Not Found\n')])).toMatchObject({ ok: false, reason: 'MALFORMED' });
  });
});

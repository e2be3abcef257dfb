import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REPORT_COLUMNS, REPORT_HEADER, reportCsv, type ReportLine } from './report.csv';

const line: ReportLine = {
  merchantId: 'mer_1',
  kind: 'payment',
  id: 'pay_1',
  belongsTo: '',
  chainId: 'eip155:31337',
  token: 'USDC',
  amountMinor: 1_250_000n,
  state: 'collected',
  code: '',
  counterparty: '0xaa',
  transactionHash: '0xff',
  blockNumber: 12n,
  atNs: 1_700_000_000_123_000_000n,
};
const six = () => 6;

describe('settlement report', () => {
  it('has these columns in this order for ever', () => {
    expect(REPORT_HEADER).toBe('merchant_id,type,id,belongs_to,chain_id,token,amount,amount_minor,state,code,counterparty,transaction_hash,block_number,occurred_at\r\n');
  });
  it('writes a line exactly', () => {
    expect(reportCsv([line], six)).toBe('mer_1,payment,pay_1,,eip155:31337,USDC,1.250000,1250000,collected,,0xaa,0xff,12,2023-11-14T22:13:20.123Z\r\n');
  });
  it('shows what leaves the merchant as negative, and no block as nothing', () => {
    expect(reportCsv([{ ...line, kind: 'refund', amountMinor: -1n, blockNumber: 0n }], six)).toContain(',-0.000001,-1,collected,,0xaa,0xff,,');
  });
  it('leaves the decimal amount empty for a token that is not configured any more', () => {
    expect(reportCsv([line], () => undefined)).toContain(',USDC,,1250000,');
  });
  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx'])('makes text of %j, which a spreadsheet would run', (code) => {
    const [row]: Record<string, string>[] = parse(REPORT_HEADER + reportCsv([{ ...line, code }], six), { columns: true });
    expect(row?.['code']).toBe(`'${code}`);
  });
  it('survives every text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (code, counterparty) => {
        const rows: string[][] = parse(reportCsv([{ ...line, code, counterparty }, line], six), { record_delimiter: '\r\n' });
        const expected = (text: string): string => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
        expect(rows).toHaveLength(2);
        expect(rows[0]).toHaveLength(REPORT_COLUMNS.length);
        expect([rows[0]?.[9], rows[0]?.[10]]).toEqual([expected(code), expected(counterparty)]);
      }),
    );
  });
});

import { formatUnits } from '@settlement/kernel/money';
import { toRfc3339 } from '@settlement/kernel/time';

/** One line of the settlement report. Amounts signed from the merchant's view: what it is owed grows with a payment. */
export interface ReportLine {
  readonly merchantId: string;
  readonly kind: 'payment' | 'refund' | 'payout';
  readonly id: string;
  /** The payment of a refund, the batch of a payout; empty for a payment. */
  readonly belongsTo: string;
  readonly chainId: string;
  readonly token: string;
  readonly amountMinor: bigint;
  /** `collected`; `reserved`, `submitted`, `paid`, `rejected`; `pending`, `paid`, `failed`, `held`. */
  readonly state: string;
  readonly code: string;
  readonly counterparty: string;
  readonly transactionHash: string;
  readonly blockNumber: bigint;
  readonly atNs: bigint;
}

/** The columns in their order. New ones are added at the end, none is ever renamed, moved or removed. */
export const REPORT_COLUMNS = [
  'merchant_id',
  'type',
  'id',
  'belongs_to',
  'chain_id',
  'token',
  'amount',
  'amount_minor',
  'state',
  'code',
  'counterparty',
  'transaction_hash',
  'block_number',
  'occurred_at',
] as const;

/** Also the whole of an empty report. */
export const REPORT_HEADER = `${REPORT_COLUMNS.join(',')}\r\n`;

/** RFC 4180: CRLF after each record, quotes where needed and doubled inside. `decimals` of the line's token. */
export function reportCsv(lines: readonly ReportLine[], decimals: (chainId: string, token: string) => number | undefined): string {
  return lines
    .map((line) => {
      const places = decimals(line.chainId, line.token);
      const cells = [
        text(line.merchantId),
        text(line.kind),
        text(line.id),
        text(line.belongsTo),
        text(line.chainId),
        text(line.token),
        // Numbers stay numbers: a leading minus is this column's meaning, not a formula.
        places === undefined ? '' : formatUnits(line.amountMinor, places),
        line.amountMinor.toString(),
        text(line.state),
        text(line.code),
        text(line.counterparty),
        text(line.transactionHash),
        line.blockNumber === 0n ? '' : line.blockNumber.toString(),
        toRfc3339(line.atNs),
      ];
      return `${cells.join(',')}\r\n`;
    })
    .join('');
}

/**
 * A spreadsheet runs what begins with one of these as a formula (OWASP, CSV injection); an apostrophe in front makes it text.
 * Tab and CR count, because they are stripped before the cell is read.
 */
const FORMULA = /^[=+\-@\t\r]/;

function text(value: string): string {
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

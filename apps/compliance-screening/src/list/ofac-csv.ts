/** Why bytes are no list, as a parser's result: what is wrong and where. */
export interface CsvProblem {
  readonly kind: 'truncated' | 'malformed';
  readonly detail: string;
}

export type CsvRows =
  | {
      readonly ok: true;
      /** `null` where the file says `-0-`. Quoted cells keep their spaces: a remark may continue in the comments file. */
      readonly rows: readonly (readonly (string | null)[])[];
      /** Whether the file ends with the 0x1A that OFAC's export puts behind the last record. */
      readonly endMarked: boolean;
    }
  | { readonly ok: false; readonly problem: CsvProblem };

const END_MARK = '\u001a';
const NULL_CELL = '-0-';

/**
 * Parses one of OFAC's delimited files: no header, comma, double quotes, `-0-` for "no value" (bare, often with a space
 * behind), CRLF or LF, and a 0x1A behind the last record. Strict about the number of columns, since a row with another
 * number is what a cut transfer leaves; a cut inside quotes is an unterminated quote.
 *
 * A file that some tool has rewritten has lost the 0x1A and perhaps its last line end; whether that is acceptable depends
 * on the other files of the set, so it is reported and not judged here.
 */
export function parseOfacCsv(fileName: string, text: string, columns: number): CsvRows {
  const endMarked = text.trimEnd().endsWith(END_MARK);
  const end = endMarked ? text.lastIndexOf(END_MARK) : text.length;
  const rows: (string | null)[][] = [];
  let row: (string | null)[] = [];
  let at = 0;
  const at1 = (): string => `${fileName}, record ${rows.length + 1}`;
  const problem = (kind: CsvProblem['kind'], detail: string): CsvRows => ({ ok: false, problem: { kind, detail: `${at1()}: ${detail}` } });

  while (at < end) {
    if (text.charCodeAt(at) === QUOTE) {
      let cell = '';
      for (;;) {
        const close = text.indexOf('"', at + 1);
        if (close === -1 || close >= end) return problem('truncated', 'the file ends inside a quoted value');
        cell += text.slice(at + 1, close);
        at = close + 1;
        if (text.charCodeAt(at) !== QUOTE) break;
        cell += '"';
      }
      while (at < end && text.charCodeAt(at) === SPACE) at += 1;
      row.push(cell);
    } else {
      let stop = at;
      while (stop < end && text.charCodeAt(stop) !== COMMA && text.charCodeAt(stop) !== LF) stop += 1;
      const cell = text.slice(at, stop).trim();
      row.push(cell === NULL_CELL || cell === '' ? null : cell);
      at = stop;
    }
    if (text.charCodeAt(at) === CR) at += 1;
    if (at >= end || text.charCodeAt(at) === LF) {
      // A blank line holds nothing; any other row must have every column.
      if (!(row.length === 1 && row[0] === null)) {
        if (row.length !== columns) {
          const last = at >= end && !endMarked;
          return problem(last ? 'truncated' : 'malformed', `expected ${columns} columns, found ${row.length}`);
        }
        rows.push(row);
      }
      row = [];
    } else if (text.charCodeAt(at) !== COMMA) {
      return problem('malformed', 'expected a comma or the end of the line behind a quoted value');
    } else if (at + 1 >= end) {
      return problem('truncated', 'the file ends behind a comma');
    }
    at += 1;
  }
  return { ok: true, rows, endMarked };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

import type { UnixNs } from '@settlement/kernel/time';
import { parsed, invalid, type Parsed } from '@settlement/kernel/parsed';
import type { NewEvent } from './resolve-appends';
import type { ClaimedHead } from './verify-log';

/** One line of an export: newline-delimited JSON, 64-bit numbers as strings, bytes as hex. */
export type ExportLine =
  | { readonly kind: 'log'; readonly format: 1; readonly source: string; readonly partitions: number }
  | { readonly kind: 'event'; readonly event: NewEvent }
  | ({ readonly kind: 'head' } & ClaimedHead);

export function formatExportLine(line: ExportLine): string {
  switch (line.kind) {
    case 'log':
      return JSON.stringify(line);
    case 'head':
      return JSON.stringify({ kind: 'head', partition: line.partition, head: line.head.toString(), lastHash: hex(line.lastHash) });
    case 'event': {
      const { event } = line;
      return JSON.stringify({
        kind: 'event',
        ...event,
        position: event.position.toString(),
        streamVersion: event.streamVersion.toString(),
        amountMinor: event.amountMinor?.toString(),
        recordedAtNs: event.recordedAtNs.toString(),
        epoch: event.epoch.toString(),
        payload: hex(event.payload),
        hash: hex(event.hash),
      });
    }
  }
}

/** Reads one line of an export. What is malformed is answered with what was expected, so that damage is named and not thrown. */
export function parseExportLine(text: string): Parsed<ExportLine> {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    return invalid(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof fields !== 'object' || fields === null) return invalid('expected an object');
  const record = new FieldReader(new Map(Object.entries(fields)));
  const line = readLine(record);
  return record.problem === undefined ? (line ?? invalid('expected kind log, event or head')) : invalid(record.problem);
}

function readLine(r: FieldReader): Parsed<ExportLine> | undefined {
  switch (r.text('kind')) {
    case 'log':
      if (r.count('format') !== 1) return invalid('expected format 1');
      return parsed({ kind: 'log', format: 1, source: r.text('source'), partitions: r.count('partitions') });
    case 'head':
      return parsed({ kind: 'head', partition: r.count('partition'), head: r.long('head'), lastHash: r.bytes('lastHash') });
    case 'event': {
      const amountMinor = r.optional('amountMinor');
      const token = r.optional('token');
      const subjectId = r.optional('subjectId');
      const partition = r.count('partition');
      const position = r.long('position');
      return parsed({
        kind: 'event',
        event: {
          source: r.text('source'),
          partition,
          position,
          eventId: `${partition}-${position}`,
          streamId: r.text('streamId'),
          streamVersion: r.long('streamVersion'),
          type: r.text('type'),
          schemaVersion: r.count('schemaVersion'),
          payload: r.bytes('payload'),
          ...(amountMinor === undefined || !/^-?[0-9]+$/.test(amountMinor) ? {} : { amountMinor: BigInt(amountMinor) }),
          ...(token === undefined ? {} : { token }),
          ...(subjectId === undefined ? {} : { subjectId }),
          commandId: r.text('commandId'),
          commandIndex: r.count('commandIndex'),
          commandSize: r.count('commandSize'),
          recordedAtNs: r.long('recordedAtNs') as UnixNs,
          traceparent: r.text('traceparent'),
          region: r.text('region'),
          epoch: r.long('epoch'),
          hash: r.bytes('hash'),
        },
      });
    }
    default:
      return undefined;
  }
}

/** Reads fields by type and remembers the first that is not as expected. */
class FieldReader {
  problem: string | undefined;

  constructor(private readonly fields: ReadonlyMap<string, unknown>) {}

  text(name: string): string {
    const value = this.fields.get(name);
    if (typeof value === 'string') return value;
    this.problem ??= `${name}: expected a text`;
    return '';
  }

  optional(name: string): string | undefined {
    return this.fields.get(name) === undefined ? undefined : this.text(name);
  }

  count(name: string): number {
    const value = this.fields.get(name);
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) return value;
    this.problem ??= `${name}: expected a whole number`;
    return 0;
  }

  long(name: string): bigint {
    const value = this.text(name);
    if (/^[0-9]{1,20}$/.test(value) && BigInt(value) < 2n ** 64n) return BigInt(value);
    this.problem ??= `${name}: expected digits`;
    return 0n;
  }

  bytes(name: string): Uint8Array {
    const value = this.text(name);
    if (/^(?:[0-9a-f]{2})*$/.test(value)) return Buffer.from(value, 'hex');
    this.problem ??= `${name}: expected hex`;
    return new Uint8Array();
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

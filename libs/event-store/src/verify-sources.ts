import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseExportLine } from './log-export';
import type { LogReader } from './log-reader';
import { PartitionVerifier, type BadEvent, type ClaimedHead } from './verify-log';

export interface Verification {
  readonly source: string;
  readonly partitions: number;
  readonly events: bigint;
  /** Undefined: every event is what it was when it was written. */
  readonly firstBad: BadEvent | undefined;
}

/** Verifies what a database holds up to the heads that it claims now; writers may go on meanwhile. */
export async function verifyLive(reader: LogReader): Promise<Verification> {
  const heads = await reader.heads();
  let events = 0n;
  for (const head of heads) {
    const verifier = new PartitionVerifier(head.partition);
    let bad: BadEvent | undefined;
    for await (const event of reader.partition(head.partition, 0n, head.head)) {
      bad = verifier.check(event);
      if (bad !== undefined) break;
    }
    bad ??= verifier.checkHead(head);
    events += verifier.verified;
    if (bad !== undefined) return { source: reader.source, partitions: heads.length, events, firstBad: bad };
  }
  return { source: reader.source, partitions: heads.length, events, firstBad: undefined };
}

/** Verifies an export without any database. */
export async function verifyExport(file: string): Promise<Verification> {
  const verifiers = new Map<number, PartitionVerifier>();
  const heads = new Map<number, ClaimedHead>();
  let source = '';
  let partitions = 0;
  let lineNumber = 0;
  const answer = (firstBad: BadEvent | undefined): Verification => ({
    source,
    partitions,
    events: [...verifiers.values()].reduce((sum, verifier) => sum + verifier.verified, 0n),
    firstBad,
  });
  for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    lineNumber += 1;
    if (text === '') continue;
    const line = parseExportLine(text);
    if (!line.ok) return answer({ partition: -1, position: 0n, reason: `line ${lineNumber}: ${line.issues.map((issue) => issue.message).join('; ')}` });
    if (lineNumber === 1 && line.value.kind !== 'log') return answer({ partition: -1, position: 0n, reason: 'the first line does not describe the log' });
    if (line.value.kind === 'log') {
      ({ source, partitions } = line.value);
    } else if (line.value.kind === 'head') {
      heads.set(line.value.partition, line.value);
    } else {
      const { event } = line.value;
      if (event.source !== source) return answer({ partition: event.partition, position: event.position, reason: `an event of ${event.source} in the log of ${source}` });
      const verifier = verifiers.get(event.partition) ?? new PartitionVerifier(event.partition);
      verifiers.set(event.partition, verifier);
      const bad = verifier.check(event);
      if (bad !== undefined) return answer(bad);
    }
  }
  if (source === '') return answer({ partition: -1, position: 0n, reason: 'the file is empty' });
  for (let partition = 0; partition < partitions; partition += 1) {
    const verifier = verifiers.get(partition) ?? new PartitionVerifier(partition);
    const head = heads.get(partition);
    const bad = head === undefined ? { partition, position: verifier.verified + 1n, reason: 'the partition has no head line: the export is cut off' } : verifier.checkHead(head);
    if (bad !== undefined) return answer(bad);
  }
  return answer(undefined);
}

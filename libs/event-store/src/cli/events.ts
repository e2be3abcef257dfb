import { createWriteStream, existsSync } from 'node:fs';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { systemClock } from '@settlement/config/system-ports';
import { InvalidInput, OperationalError } from '@settlement/kernel/errors';
import { toRfc3339 } from '@settlement/kernel/time';
import { formatExportLine } from '../log-export';
import { LogReader, withoutPassword } from '../log-reader';
import type { NewEvent } from '../resolve-appends';
import { verifyExport, verifyLive, type Verification } from '../verify-sources';
import { decodePayload } from './decode-payload';
import { chosenDatabases } from './chosen-databases';

const HELP = `Reads and verifies event logs.

  npm run events -- show STREAM                a stream, oldest first
  npm run events -- tail [--partition N] [--from POSITION] [--follow]
                                               a partition's events (default: the last 20 of each)
  npm run events -- verify [--file EXPORT]     the hash chain of a live log, or of an export without any database
  npm run events -- export --out FILE          everything that an offline verification needs, one JSON document a line

  --service NAME   a service of the running sandbox (npm start), such as gateway
  --url URL        or any database: postgresql://user@host:port/database
  --json           one JSON document a line, as in an export

Without --service and --url: the database in DATABASE_URL, as in a service's pod; else all services of the running sandbox.
Exit codes: 0 all is well, 1 verification found a bad event, 2 wrong usage, 3 the database did not answer.
`;

const { values: flags, positionals } = readArguments();

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        url: { type: 'string' },
        service: { type: 'string' },
        partition: { type: 'string' },
        from: { type: 'string' },
        file: { type: 'string' },
        out: { type: 'string' },
        follow: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    process.exit(2);
  }
}

function chosenUrls(): readonly string[] {
  return [...chosenDatabases(flags).values()];
}

function oneUrl(): string {
  const databases = chosenDatabases(flags);
  const [url] = databases.values();
  if (url === undefined || databases.size !== 1) throw usage(`name one service with --service: ${[...databases.keys()].join(', ')}`);
  return url;
}

function usage(message: string): InvalidInput {
  return new InvalidInput([{ path: '', message }]);
}

function wholeNumber(name: 'partition' | 'from'): bigint | undefined {
  const text = flags[name];
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,18}$/.test(text)) throw usage(`--${name}: expected a whole number`);
  return BigInt(text);
}

async function print(event: NewEvent): Promise<void> {
  if (flags.json) {
    process.stdout.write(`${formatExportLine({ kind: 'event', event })}\n`);
    return;
  }
  const version = event.schemaVersion === 1 ? '' : `.v${event.schemaVersion}`;
  process.stdout.write(
    `${event.partition}@${event.position}  ${toRfc3339(event.recordedAtNs)}  ${event.streamId}#${event.streamVersion}  ${event.type}${version}  ${event.region}/${event.epoch}  by ${event.commandId}\n    ${await decodePayload(event.source, event.type, event.payload)}\n`,
  );
}

async function show(streamId: string | undefined): Promise<number> {
  if (streamId === undefined) throw usage('show: expected a stream, such as payment-pay_01jd3v8x0s9m6q4f2r7t5w1z8k');
  let found = 0;
  for (const url of chosenUrls()) {
    const reader = await LogReader.open(url);
    try {
      for (const event of await reader.stream(streamId)) {
        found += 1;
        await print(event);
      }
    } finally {
      await reader.close();
    }
  }
  if (found === 0) process.stderr.write(`no stream ${streamId}\n`);
  return found === 0 ? 1 : 0;
}

async function tail(): Promise<number> {
  const reader = await LogReader.open(oneUrl());
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort());
  try {
    const wanted = wholeNumber('partition');
    const from = wholeNumber('from');
    const heads = (await reader.heads()).filter((head) => wanted === undefined || BigInt(head.partition) === wanted);
    if (heads.length === 0) throw usage(`--partition: this database holds no partition ${wanted}`);
    const after = new Map(heads.map((head) => [head.partition, from === undefined ? (head.head > 20n ? head.head - 20n : 0n) : from > 0n ? from - 1n : 0n]));
    do {
      for (const [partition, position] of after) {
        for await (const event of reader.partition(partition, position)) {
          await print(event);
          after.set(partition, event.position);
        }
      }
      if (flags.follow) await systemClock.sleep(200, stopping.signal);
    } while (flags.follow && !stopping.signal.aborted);
    return 0;
  } finally {
    await reader.close();
  }
}

function report(where: string, { source, partitions, events, firstBad }: Verification): number {
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ where, source, partitions, events: events.toString(), ok: firstBad === undefined, firstBad: firstBad && { ...firstBad, position: firstBad.position.toString() } })}\n`);
  } else if (firstBad === undefined) {
    process.stdout.write(`ok   ${source}: ${events} events in ${partitions} partitions are unchanged (${where})\n`);
  } else {
    const place = firstBad.partition < 0 ? '' : `partition ${firstBad.partition}, position ${firstBad.position}: `;
    process.stdout.write(`BAD  ${source}: ${place}${firstBad.reason} (${where}; ${events} events before it are unchanged)\n`);
  }
  return firstBad === undefined ? 0 : 1;
}

async function verify(): Promise<number> {
  if (flags.file !== undefined) {
    if (!existsSync(flags.file)) throw usage(`--file: ${flags.file} does not exist`);
    return report(flags.file, await verifyExport(flags.file));
  }
  let worst = 0;
  for (const url of chosenUrls()) {
    const reader = await LogReader.open(url);
    try {
      worst = Math.max(worst, report(withoutPassword(url), await verifyLive(reader)));
    } finally {
      await reader.close();
    }
  }
  return worst;
}

async function exportLog(): Promise<number> {
  if (flags.out === undefined) throw usage('export: expected --out FILE');
  const reader = await LogReader.open(oneUrl());
  const out = createWriteStream(flags.out);
  let events = 0;
  try {
    const write = async (line: Parameters<typeof formatExportLine>[0]): Promise<void> => {
      if (!out.write(`${formatExportLine(line)}\n`)) await once(out, 'drain');
    };
    const heads = await reader.heads();
    await write({ kind: 'log', format: 1, source: reader.source, partitions: reader.partitions });
    for (const head of heads) {
      for await (const event of reader.partition(head.partition, 0n, head.head)) {
        await write({ kind: 'event', event });
        events += 1;
      }
      await write({ kind: 'head', ...head });
    }
    out.end();
    await once(out, 'finish');
  } finally {
    out.destroy();
    await reader.close();
  }
  process.stderr.write(`${events} events of ${reader.source} in ${flags.out}\n`);
  return 0;
}

async function main(): Promise<number> {
  const [command, argument] = positionals;
  if (flags.help || command === undefined) {
    process.stdout.write(HELP);
    return flags.help ? 0 : 2;
  }
  switch (command) {
    case 'show':
      return show(argument);
    case 'tail':
      return tail();
    case 'verify':
      return verify();
    case 'export':
      return exportLog();
    default:
      throw usage(`unknown command ${command}; try --help`);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof InvalidInput ? 2 : error instanceof OperationalError ? 3 : 4;
}

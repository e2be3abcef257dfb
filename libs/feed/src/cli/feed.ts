import { parseArgs } from 'node:util';
import { chosenDatabases } from '@settlement/event-store/cli/chosen-databases';
import { InvalidInput } from '@settlement/kernel/errors';
import pg from 'pg';
import { poolDatabase } from '../feed-database';
import { describeFailure } from '../failure';
import { parkedStreams, requestReplay, type ParkedFilter, type ParkedStream } from '../parking';

const HELP = `Streams that a consumer has set aside because one of their events keeps failing.

  npm run feed -- parked    lists them, oldest first
  npm run feed -- replay    marks them for replay; the running consumer handles their events again, in order, within about
                            a second, and frees the stream when all succeed. Without a running consumer they stay marked.

  --service NAME    the consuming service of the running sandbox (npm start), such as gateway
  --url URL         or its database: postgresql://user@host:port/database. Without both: DATABASE_URL, as in a
                    service's pod; else all services of the sandbox
  --source NAME     only streams of this service's facts
  --consumer NAME   only this consumer's
  --stream ID       only this stream; replay asks for this, or for --all
  --all             replay everything that the other options select
  --json            one JSON document a line

Exit codes: 0 done, 1 nothing was there to replay, 2 wrong usage, 3 the database did not answer.
`;

class WrongUsage extends Error {}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        url: { type: 'string' },
        service: { type: 'string' },
        source: { type: 'string' },
        consumer: { type: 'string' },
        stream: { type: 'string' },
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message : String(error));
  }
}

async function inDatabase<T>(url: string, work: (database: ReturnType<typeof poolDatabase>) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: url, max: 1, connectionTimeoutMillis: 5_000 });
  pool.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
  });
  try {
    return await work(poolDatabase(pool));
  } finally {
    await pool.end();
  }
}

function print(service: string, parked: ParkedStream, json: boolean): void {
  if (json) {
    const plain = { service, ...parked, position: parked.position.toString(), parkedAt: parked.parkedAt.toISOString() };
    process.stdout.write(`${JSON.stringify(plain)}\n`);
    return;
  }
  const state = parked.replayRequested ? ', replay requested' : '';
  process.stdout.write(
    `${service}  ${parked.consumer} of ${parked.source}  ${parked.streamId}\n` +
      `    ${parked.events} event${parked.events === 1 ? '' : 's'} from ${parked.partition}@${parked.position} (${parked.eventType}), parked ${parked.parkedAt.toISOString()} after ${parked.attempts} attempts${state}\n` +
      `    ${parked.errorCode}: ${parked.error}\n`,
  );
}

async function main(): Promise<number> {
  const { values: flags, positionals } = readArguments();
  const [command, ...rest] = positionals;
  if (flags.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (rest.length > 0 || (command !== 'parked' && command !== 'replay')) throw new WrongUsage('say parked or replay');
  const filter: ParkedFilter = { source: flags.source, consumer: flags.consumer, streamId: flags.stream };
  const databases = chosenDatabases(flags);
  if (command === 'replay') {
    if (flags.stream === undefined && !flags.all) throw new WrongUsage('replay needs --stream ID or --all');
    let marked = 0;
    for (const [service, url] of databases) {
      const here = await inDatabase(url, (database) => requestReplay(database, filter));
      if (here > 0 && !flags.json) process.stdout.write(`${service}: ${here} stream${here === 1 ? '' : 's'} marked; the running consumer replays within about a second\n`);
      marked += here;
    }
    if (flags.json) process.stdout.write(`${JSON.stringify({ marked })}\n`);
    else if (marked === 0) process.stdout.write('no such stream is parked\n');
    return marked > 0 ? 0 : 1;
  }
  let found = 0;
  for (const [service, url] of databases) {
    for (const parked of await inDatabase(url, (database) => parkedStreams(database, filter))) {
      print(service, parked, flags.json);
      found += 1;
    }
  }
  if (found === 0 && !flags.json) process.stdout.write('no stream is parked\n');
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof WrongUsage || error instanceof InvalidInput) {
    process.stderr.write(`${error.message}\n\n${HELP}`);
    process.exitCode = 2;
  } else {
    const { code, message } = describeFailure(error);
    process.stderr.write(`${code}: ${message}\n`);
    process.exitCode = 3;
  }
}

// `npm run bench -- NAME [--json] [--seconds N]`: one document on standard output with --json, a table without.
import { parseArgs } from 'node:util';
import { formatBench, type BenchDocument } from '@settlement/testing/bench';

const benches: Readonly<Record<string, { readonly what: string; readonly run: (options: { seconds: number | undefined; profile: string | undefined }) => Promise<BenchDocument> }>> = {
  'event-store': {
    what: 'appends and feed delivery beside emmett-postgresql and raw inserts, on one Postgres',
    run: async ({ seconds }) => (await import('../libs/event-store/bench/event-store.bench')).runEventStoreBench(seconds === undefined ? {} : { seconds }),
  },
  gas: {
    what: 'gas a payment and a payout on the real USDC',
    run: async () => (await import('../libs/contracts/bench/gas.bench')).runGasBench({}),
  },
  relay: {
    what: 'x402 settles and verifies beside the reference facilitator, user operations beside Alto, and settles over 1, 2, 4, 8 lanes',
    run: async (options) => (await import('../apps/sandbox/bench/relay/relay.bench')).runRelayBench(options),
  },
  settle: {
    what: 'payments a second from acceptance to finality, beside the x402 reference facilitator on the same chain',
    run: async (options) => (await import('../apps/sandbox/bench/settle.bench')).runSettleBench(options),
  },
};

const help = `npm run bench -- NAME [--json] [--seconds N] [--profile FOLDER]

${Object.entries(benches).map(([name, { what }]) => `  ${name.padEnd(12)} ${what}`).join('\n')}

  --json       one JSON document on standard output and nothing else there
  --seconds N  how long each subject runs (settle: 60, relay: 30, event-store: its own default)
  --profile F  settle, relay: CPU profiles of the services into folder F
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, seconds: { type: 'string' }, profile: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
});
const [name = ''] = positionals;
const bench = benches[name];
const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
if (values.help) {
  process.stdout.write(help);
} else if (bench === undefined || (seconds !== undefined && !(seconds > 0))) {
  process.stderr.write(`${bench === undefined ? `no bench is called "${name}"` : '--seconds takes a positive number'}\n\n${help}`);
  process.exitCode = 2;
} else {
  const document = await bench.run({ seconds, profile: values.profile });
  process.stdout.write(values.json ? `${JSON.stringify(document, null, 2)}\n` : formatBench(document));
}

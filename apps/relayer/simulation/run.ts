import { parseArgs } from 'node:util';
import { isMutation, MUTATIONS, type Mutation } from './mutations';
import { REGRESSION_SEEDS } from './regression-seeds';
import { addSeed, noTotals, replayCommand, summary, type Totals } from './totals';
import { World } from './world';

const USAGE = `usage: npm run simulate -- [options]
  --seed N        one seed; with --trace every step of it
  --seeds N       that many seeds (1,000 unless told), after those that failed once
  --from N        the first of them (1)
  --mutation M    with a planted fault: ${Object.keys(MUTATIONS).join(', ')}
  --until-failure end with the first that fails
`;

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    stride: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    mutation: { type: 'string' },
    'until-failure': { type: 'boolean', default: false },
    /** For the worker pool: one JSON line now and then, one with the totals. */
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

/** How often a pool hears from its workers. Seeds. */
const PROGRESS_SEEDS = 100;

const write = (line: string): void => void process.stdout.write(`${line}\n`);

async function one(seed: number, mutation: Mutation | undefined): Promise<number> {
  const result = await new World(seed, { ...(options.trace ? { print: write } : {}), ...(mutation === undefined ? {} : { mutation }) }).run();
  const totals = noTotals();
  addSeed(totals, result);
  write(`seed ${seed}: ${result.steps} steps, ${result.virtualMs.toFixed(0)} virtual ms, trace hash ${result.traceHash}`);
  write(result.failure === undefined ? 'nothing failed' : `FAILED: ${result.failure.message}`);
  return result.failure === undefined ? 0 : 1;
}

async function many(seeds: readonly number[], mutation: Mutation | undefined): Promise<Totals> {
  const totals = noTotals();
  for (const seed of seeds) {
    const result = await new World(seed, mutation === undefined ? {} : { mutation }).run();
    addSeed(totals, result);
    if (options.json && totals.seeds % PROGRESS_SEEDS === 0) write(JSON.stringify({ seeds: totals.seeds, failures: totals.failures.length }));
    if (result.failure !== undefined && !options.json) write(`seed ${seed}: ${result.failure.message}\n  replay: ${replayCommand(seed)}`);
    if (result.failure !== undefined && options['until-failure']) break;
  }
  return totals;
}

async function main(): Promise<number> {
  const mutation = options.mutation;
  if (options.help || (mutation !== undefined && !isMutation(mutation))) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (options.seed !== undefined) return one(Number(options.seed), mutation);
  const from = Number(options.from);
  const range = Array.from({ length: Number(options.seeds) }, (_, index) => from + index * Number(options.stride));
  const startedMs = performance.now();
  // A pool hands out seeds by itself, those that failed once included.
  const totals = await many(options.json ? range : [...REGRESSION_SEEDS.map(({ seed }) => seed), ...range], mutation);
  if (options.json) {
    write(JSON.stringify({ totals }));
    return 0;
  }
  write(summary(totals, (performance.now() - startedMs) / 1_000));
  return totals.failures.length === 0 ? 0 : 1;
}

process.exitCode = await main();

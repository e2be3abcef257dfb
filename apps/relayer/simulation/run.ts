import { World } from './world';

async function main(args: readonly string[]): Promise<void> {
  const value = (name: string): number | undefined => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : Number(args[at + 1]);
  };
  const seed = value('--seed');
  const print = args.includes('--trace') ? (line: string) => process.stdout.write(`${line}\n`) : undefined;
  const from = seed ?? value('--from') ?? 1;
  const count = seed === undefined ? (value('--seeds') ?? 1_000) : 1;
  const startedMs = performance.now();
  let failed = 0;
  let steps = 0;
  for (let at = from; at < from + count; at += 1) {
    const result = await new World(at, print === undefined ? {} : { print }).run();
    steps += result.steps;
    if (result.failure !== undefined) {
      failed += 1;
      process.stdout.write(`seed ${at}: ${result.failure.message}\n  replay: npm run simulate -- --seed ${at} --trace\n`);
    } else if (count === 1) process.stdout.write(`seed ${at}: ${result.steps} steps, ${result.virtualMs} virtual ms, trace ${result.traceHash} ${JSON.stringify(result.counts)}\n`);
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  process.stdout.write(`${count} seeds, ${failed} failed, ${steps} steps, ${seconds.toFixed(1)} s, ${(count / seconds).toFixed(0)} seeds/s\n`);
  if (failed > 0) process.exitCode = 1;
}

await main(process.argv.slice(2));

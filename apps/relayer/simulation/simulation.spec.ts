import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CRASH_POINTS } from '../src/ports/crash-points';
import { FAULT_KINDS } from './faults';
import { bundleSimulation, runSeeds, type SimulationProgram } from './pool';
import { REGRESSION_SEEDS } from './regression-seeds';
import { replayCommand, summary } from './totals';
import { World } from './world';

const SEEDS = 10_000;
const WORKERS = 2;
/** A quiet machine of two cores needs about a minute; a shared one is given time. */
const TIMEOUT_MS = 900_000;

let program: SimulationProgram;
beforeAll(() => {
  program = bundleSimulation();
}, 60_000);
afterAll(() => program.remove());

describe('the lanes in a simulated world', () => {
  it.each([...REGRESSION_SEEDS])('pass seed $seed, which once found: $found', { timeout: 60_000 }, async ({ seed }) => {
    const { failure } = await new World(seed).run();
    expect(failure?.message, replayCommand(seed)).toBeUndefined();
  });

  it('take the same course for the same seed, in this process and in another one', { timeout: 120_000 }, async () => {
    const results = [];
    for (const seed of [11, 12]) {
      const [first, second] = [await new World(seed).run(), await new World(seed).run()];
      expect(second).toEqual(first);
      results.push(first);
    }
    const elsewhere = await runSeeds(program, { workers: 1, from: 11, seeds: 2 });
    expect(elsewhere.traceHashes).toEqual(results.map(({ seed, traceHash }) => `${seed} ${traceHash}`));
    expect(new Set(results.map(({ traceHash }) => traceHash)).size).toBe(2);
  });

  it(
    `keep I2 and I5 after every step of ${SEEDS} seeds, and bring every intent to a true end`,
    { timeout: TIMEOUT_MS },
    async () => {
      const startedMs = performance.now();
      let toldMs = startedMs;
      const totals = await runSeeds(program, {
        workers: WORKERS,
        from: 1,
        seeds: SEEDS,
        progress: (seeds, failures) => {
          if (performance.now() - toldMs < 10_000) return;
          toldMs = performance.now();
          process.stdout.write(`simulation: ${seeds} of ${SEEDS} seeds, ${failures} failed, ${((toldMs - startedMs) / 1_000).toFixed(0)} s\n`);
        },
      });
      process.stdout.write(`simulation: ${summary(totals, (performance.now() - startedMs) / 1_000)}\n`);
      expect(totals.failures.map(({ seed, message }) => `${message} (${replayCommand(seed)})`)).toEqual([]);
      expect(totals.seeds).toBe(SEEDS);
      // A storm in which some kind of fault never came proves nothing about that kind.
      expect(FAULT_KINDS.filter((kind) => totals.counts[kind] === 0)).toEqual([]);
      expect(CRASH_POINTS.filter((point) => totals.points[point] === undefined)).toEqual([]);
    },
  );
});

describe('the simulation itself', () => {
  it('has no chance and no time but its own', () => {
    const foreign = /Math\.random|Date\.now|new Date\b|setTimeout|setInterval|randomBytes|randomUUID|hrtime/;
    // The command line and the pool tell a person how long it took.
    const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'));
    expect(files.filter((file) => foreign.test(readFileSync(join(import.meta.dirname, file), 'utf8')))).toEqual([]);
    const measured = files.filter((file) => readFileSync(join(import.meta.dirname, file), 'utf8').includes('performance.now'));
    expect(measured).toEqual(['run.ts']);
  });
});

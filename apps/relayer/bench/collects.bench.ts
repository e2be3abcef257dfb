// `node tools/run.mjs exec apps/relayer/bench/collects.bench.ts [collects a second] [seconds]`: one key on a real node with
// 1 s blocks, the relayer as its own process over gRPC; how many collects become final, and how long each takes.
import { machine, percentile, round } from '@settlement/testing/bench';
import { IntentState } from '@settlement/proto/relayer/v1/relayer';
import { bundleRelayer, startRelayerProcess } from '../test/relayer-process';
import { startWorld } from '../test/relayer-world';
import { readAll, until } from '../test/in-process';

const perSecond = Number(process.argv[2] ?? 500);
const seconds = Number(process.argv[3] ?? 20);
const ROUND_MS = 100;

const world = await startWorld({ databases: ['relayer'], payers: 200, blockTimeMs: 1_000, finalityDepth: 2 });
const program = bundleRelayer();
const running = await startRelayerProcess(program, world.environment('relayer'));
try {
  await until('the relayer is ready', () => running.ready());
  // Signed before the clock starts: what payers do is not what is measured.
  const rounds = Array.from({ length: (seconds * 1_000) / ROUND_MS }, (_, r) =>
    Array.from({ length: (perSecond * ROUND_MS) / 1_000 }, (_unused, i) => world.collect({ payer: r * 37 + i, merchant: 1 + (i % 20) })),
  );
  const started = Date.now();
  const intentIds: string[] = [];
  const submitMs: number[] = [];
  const cpu = await cpuOf(running.child.pid);
  for (const [index, items] of rounds.entries()) {
    const due = started + index * ROUND_MS;
    if (Date.now() < due) await new Promise((resolve) => setTimeout(resolve, due - Date.now()));
    const at = performance.now();
    await running.client.submitMany({ items });
    submitMs.push(performance.now() - at);
    intentIds.push(...items.map(({ intentId }) => intentId));
  }
  const last = intentIds.slice(-1_000);
  await until('the last intents are final', async () => (await running.client.getIntents({ intentIds: last })).items.every(({ state }) => state === IntentState.INTENT_STATE_FINAL), 120_000);
  const endedMs = Date.now();
  const cpuUsed = (await cpuOf(running.child.pid)) - cpu;
  const events = await readAll(world.postgres.urlFor('relayer'));
  const acceptedAt = new Map<string, bigint>();
  for (const { event } of events) if (event.type === 'IntentAccepted' && event.intent !== undefined) acceptedAt.set(event.intent.intentId, event.acceptedAtNs);
  const latencies: number[] = [];
  let transactions = 0;
  for (const { event } of events) {
    if (event.type !== 'TransactionFinalized') continue;
    transactions += 1;
    for (const outcome of event.outcomes) if (outcome.executed) latencies.push(Number(event.finalizedAtNs - (acceptedAt.get(outcome.intentId) ?? 0n)) / 1e6);
  }
  process.stdout.write(
    `${JSON.stringify({
      bench: 'relayer-collects',
      machine: machine(),
      results: [
        {
          subject: 'ours',
          scenario: `collect, one key, 1 s blocks, depth 2, ${perSecond}/s offered for ${seconds} s`,
          submitted: intentIds.length,
          executed: latencies.length,
          transactions,
          perSecond: round(latencies.length / ((endedMs - started) / 1_000), 1),
          p50Ms: round(percentile(latencies, 50), 0),
          p99Ms: round(percentile(latencies, 99), 0),
          submitP50Ms: round(percentile(submitMs, 50), 1),
          submitP99Ms: round(percentile(submitMs, 99), 1),
          relayerCpuSeconds: round(cpuUsed, 1),
        },
      ],
      ratios: {},
    }, null, 2)}\n`,
  );
  running.kill('SIGTERM');
  await running.ended;
} finally {
  running.kill('SIGKILL');
  await running.ended;
  await running.closeClient();
  program.remove();
  await world.stop();
}

/** User and system time of a process so far, from /proc. Seconds; 0 where there is none. */
async function cpuOf(pid: number | undefined): Promise<number> {
  const { readFile } = await import('node:fs/promises');
  if (process.platform !== 'linux' || pid === undefined) return 0;
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100;
}

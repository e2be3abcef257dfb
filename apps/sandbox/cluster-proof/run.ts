import { mkdirSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot } from '@settlement/config/repository-root';
import { clusterAccess } from '../src/cluster/cluster-access';
import { clusterTarget } from '../src/cluster/cluster-target';
import { deploy, deployedContracts, upgradeSettlement } from '../src/cluster/deploy';
import { imagesOnNodes } from '../src/cluster/images-on-nodes';
import { namespaces } from '../src/cluster/installation';
import { logHeads } from '../src/event-count';
import { Observer } from '../src/observer';
import { testCluster, type TestCluster } from './test-cluster';
import { seconds } from './pauses';
import { Proof, type Scenario, type ScenarioResult } from './proof';
import { markdownReport, table } from './report';
import { scenarios } from './scenarios';
import { firstPayment } from './scenarios/install';

const help = `npm run test:cluster [-- options]

Proves the chart by running it: makes a cluster of three nodes on this machine, installs the system on it, disturbs it while
payments flow, and looks where the money is. Takes the cluster down whatever happens.

  --only NAME       one scenario; may be repeated: ${scenarios.map(({ name }) => name).join(', ')}
  --full            further operators (KEDA, prometheus-operator, Chaos Mesh, Strimzi's definitions) and what they prove
  --existing        on the cluster and the release that are there, and leaves them there
  --keep            leaves the cluster there, for a look; npm run cluster -- down removes it
  --tag T           images that are built already
  --help            this text

Exit code 0 only when every check passed. The report is in .settlement/cluster-proof/.
`;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    full: { type: 'boolean', default: false },
    existing: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    tag: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(): Promise<number> {
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  const unknown = options.only.filter((name) => !scenarios.some((scenario) => scenario.name === name));
  if (unknown.length > 0) {
    process.stderr.write(`--only: there is no scenario ${unknown.join(', ')}\n\n${help}`);
    return 2;
  }
  const full = options.full || scenarios.some((scenario) => scenario.full === true && options.only.includes(scenario.name));
  const chosen = scenarios.filter((scenario) => (options.only.length === 0 ? full || scenario.full !== true : options.only.includes(scenario.name)));

  preferThisProcess();
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!abort.signal.aborted) process.stderr.write('\nstopping, and taking the cluster down\n');
      abort.abort();
    });
  }
  const startedAt = new Date();
  const startedAtMs = performance.now();
  const results: ScenarioResult[] = [];
  let stage: TestCluster;
  try {
    stage = await testCluster({ existing: options.existing, keep: options.keep, full, signal: abort.signal, say });
  } catch (error) {
    say(`✗ no cluster: ${error instanceof Error ? error.message : String(error)}`);
    return abort.signal.aborted ? 130 : 1;
  }
  try {
    results.unshift(await prove(stage, chosen, abort.signal, results));
  } catch (error) {
    if (!abort.signal.aborted) {
      const detail = error instanceof Error ? error.message : String(error);
      say(`✗ the proof ended early: ${detail}`);
      results.push({ name: 'runner', hypothesis: 'all scenarios are run', faults: [], checks: [{ name: 'ran to its end', ok: false, detail: detail.split('\n')[0] ?? '' }], figures: [], tookMs: 0 });
    }
  } finally {
    await stage.close();
  }
  return report(results, startedAt, performance.now() - startedAtMs, abort.signal.aborted);
}

/**
 * Callers and observers would have machines of their own. Here they share two cores with the cluster, whose control group outweighs
 * everything beside it: a client that is not let run for seconds closes idle connections too late and measures itself. Nice -15 has
 * about twice the cluster's weight, and this process needs little.
 */
function preferThisProcess(): void {
  try {
    setPriority(-15);
  } catch {
    say('· without the right to a higher priority: answer times contain what this process waits for a processor');
  }
}

/** Installs and runs the scenarios; what each has found goes into `results` as it ends. Answers what the installation took. */
async function prove(stage: TestCluster, chosen: readonly Scenario[], abort: AbortSignal, results: ScenarioResult[]): Promise<ScenarioResult> {
  const cluster = await clusterAccess(stage.local, abort);
  const installing = performance.now();
  const tag = options.existing ? await installedTag(cluster) : await imagesOnNodes(stage.local, options.tag, say, abort);
  const installedAtMs = performance.now();
  const figures: (readonly [string, string])[] = [...stage.figures, ['images on the nodes after', seconds(installedAtMs - installing)]];
  if (!options.existing) {
    await deploy(cluster, { tag, say: (text) => say(`  ${text}`) });
    figures.push(['helm upgrade --install of chain and services took', seconds(performance.now() - installedAtMs)]);
  }
  const target = await clusterTarget(cluster);
  const contracts = await deployedContracts(cluster);
  const observer = new Observer();
  const feed = target.openFeed();
  try {
    await observer.start(feed, await logHeads(target));
    const upgrade = (changes: Parameters<Proof['upgrade']>[0]): Promise<void> =>
      upgradeSettlement(cluster, contracts, {
        tag: changes.tag ?? tag,
        dataTag: tag,
        say: (text) => say(`    ${text}`),
        ...(changes.timeoutMs === undefined ? {} : { timeoutMs: changes.timeoutMs }),
        ...(changes.rollBack === undefined ? {} : { rollBack: changes.rollBack }),
        ...(changes.set === undefined ? {} : { set: changes.set }),
      });
    const proofOf = (): Proof => new Proof(cluster, target, observer, tag, upgrade, abort, say);

    say(`\n▸ install`);
    const first = proofOf();
    await firstPayment(first);
    const install: ScenarioResult = {
      name: 'install',
      hypothesis: 'one helm upgrade --install on an empty cluster, and payments settle',
      faults: [],
      checks: first.checks,
      figures: [...figures, ...(options.existing ? [] : [['empty cluster to first payment paid out', seconds(performance.now() - installedAtMs)] as const]), ...first.figures],
      tookMs: performance.now() - installing,
    };
    for (const scenario of chosen) {
      if (abort.aborted) break;
      results.push(await runScenario(scenario, proofOf()));
    }
    return install;
  } finally {
    await observer.stop();
    await feed.close();
  }
}

async function runScenario(scenario: Scenario, proof: Proof): Promise<ScenarioResult> {
  say(`\n▸ ${scenario.name}: ${scenario.hypothesis}`);
  const startedAtMs = performance.now();
  try {
    await scenario.run(proof);
  } catch (error) {
    proof.check('ran to its end', false, error instanceof Error ? error.message : String(error));
  }
  const tookMs = performance.now() - startedAtMs;
  say(`    (${seconds(tookMs)})`);
  return { name: scenario.name, hypothesis: scenario.hypothesis, faults: proof.faults, checks: proof.checks, figures: proof.figures, tookMs };
}

async function installedTag(cluster: Awaited<ReturnType<typeof clusterAccess>>): Promise<string> {
  const image = await cluster.kubectl(['get', 'deployment', 'local-chain', '-n', namespaces.chain, '-o', 'jsonpath={.spec.template.spec.containers[0].image}']);
  return image.trim().split(':').at(-1) ?? '';
}

function report(results: readonly ScenarioResult[], startedAt: Date, tookMs: number, aborted: boolean): number {
  const checks = results.flatMap((result) => result.checks);
  const failed = checks.filter(({ ok }) => !ok).length;
  const folder = join(repositoryRoot, '.settlement/cluster-proof');
  mkdirSync(folder, { recursive: true });
  const document = { startedAt: startedAt.toISOString(), tookMs: Math.round(tookMs), full: options.full, aborted, passed: checks.length - failed, failed, scenarios: results };
  writeFileSync(join(folder, 'report.json'), `${JSON.stringify(document, null, 2)}\n`);
  writeFileSync(join(folder, 'report.md'), markdownReport(document));
  say(`\n${table(results)}`);
  say(`report: ${join(folder, 'report.md')}`);
  say(`${(tookMs / 60_000).toFixed(1)} minutes${aborted ? ', interrupted' : ''}`);
  say(`${checks.length - failed} passed, ${failed} failed`);
  return aborted ? 130 : failed > 0 || checks.length === 0 ? 1 : 0;
}

process.exitCode = await main();

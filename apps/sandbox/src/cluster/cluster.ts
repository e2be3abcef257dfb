import { abortOnSignals } from './abort-on-signals';
import { clusterHelp, helpOf, parseClusterCommand, type ClusterCommand } from './cluster-options';
import { localCluster } from '@settlement/cluster/choose-driver';
import { defaultOperators, nodesOf, type ClusterStatus, type LocalCluster } from '@settlement/cluster/local-cluster';
import { InvalidInput, OperationalError } from '@settlement/kernel/errors';
import { demoOn } from './demo';
import { deployTo } from './deploy';

const say = (line: string): void => void process.stderr.write(`· ${line}\n`);

/** `npm run cluster -- VERB`. 0 done, 1 failed, 2 asked wrongly, 130 interrupted. */
async function main(argv: readonly string[]): Promise<number> {
  let command: ClusterCommand;
  try {
    command = parseClusterCommand(argv);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    process.stderr.write(`${error.message}\n\n${helpOf(argv[0])}`);
    return 2;
  }
  if (command.verb === 'help') {
    process.stdout.write(command.of === undefined ? clusterHelp : helpOf(command.of));
    return 0;
  }
  const { signal, release } = abortOnSignals(command.verb === 'demo' ? 'leave' : 'take');
  try {
    return await obey(command, await localCluster(command), signal);
  } catch (error) {
    if (signal.aborted) {
      say('stopped');
      return 130;
    }
    if (!(error instanceof OperationalError)) throw error;
    process.stderr.write(`✗ ${error.message}\n`);
    return 1;
  } finally {
    release();
  }
}

async function obey(command: Exclude<ClusterCommand, { verb: 'help' }>, cluster: LocalCluster, signal: AbortSignal): Promise<number> {
  switch (command.verb) {
    case 'up':
      await up(cluster, command, signal);
      return 0;
    case 'down': {
      const startedAtMs = Date.now();
      const there = (await cluster.status()) !== undefined;
      // Also where nothing is seen: what an interrupted `up` left has no status.
      await cluster.down({ signal, onLine: say });
      process.stdout.write(there ? `${cluster.name} is gone after ${seconds(startedAtMs)} s; nothing of it is left\n` : `there was no cluster named ${cluster.name}\n`);
      return 0;
    }
    case 'status': {
      const status = await cluster.status();
      if (command.json) process.stdout.write(`${JSON.stringify(status ?? null, null, 2)}\n`);
      else process.stdout.write(status === undefined ? `no cluster named ${cluster.name}; \`npm run cluster -- up\` makes one\n` : table(cluster, status));
      return status === undefined ? 1 : 0;
    }
    case 'load':
      await mustBeUp(cluster);
      await cluster.loadImages(command.archives, { signal, onLine: say });
      return 0;
    case 'deploy':
      await mustBeUp(cluster);
      return deployTo(cluster, command.rest, signal);
    case 'demo':
      await mustBeUp(cluster);
      return demoOn(cluster, command.rest);
  }
}

async function up(cluster: LocalCluster, { nodes, bare }: { readonly nodes: number; readonly bare: boolean }, signal: AbortSignal): Promise<void> {
  const startedAtMs = Date.now();
  const operators = bare ? [] : defaultOperators;
  say(`${cluster.driver === 'own' ? 'a cluster of Linux namespaces (deploy/cluster)' : 'a cluster of kind'}, ${nodes} nodes; what is not built yet is built first, which takes half an hour once`);
  await cluster.prepare(operators, { signal, onLine: say });
  const preparedAtMs = Date.now();
  await cluster.up({ nodes, signal, onLine: say });
  await cluster.installOperators(operators, { signal, onLine: say });
  const status = await cluster.status();
  process.stdout.write(
    [
      `${cluster.name} is up after ${seconds(startedAtMs)} s (${seconds(startedAtMs, preparedAtMs)} s of them to prepare)`,
      ...(status === undefined ? [] : [`nodes: ${nodesOf(status).map(({ name, address }) => `${name} ${address}`).join(', ')}`]),
      `export KUBECONFIG=${cluster.kubeconfig}`,
      'next: npm run cluster -- deploy',
      '',
    ].join('\n'),
  );
}

async function mustBeUp(cluster: LocalCluster): Promise<void> {
  if ((await cluster.status()) === undefined) throw new OperationalError('NO_SUCH_CLUSTER', `no cluster named ${cluster.name}; \`npm run cluster -- up\` makes one`, 'not-done');
}

function table(cluster: LocalCluster, status: ClusterStatus): string {
  const rows = status.machines.map(({ name, address, running, residentMiB, processorSeconds }) =>
    [name.padEnd(24), address.padEnd(14), running ? 'running' : 'off    ', residentMiB === undefined ? '' : `${residentMiB} MiB`.padStart(9), processorSeconds === undefined ? '' : `${processorSeconds.toFixed(0)} s of processor time`.padStart(26)].join(' ').trimEnd(),
  );
  return [`${status.name} (${cluster.driver})  ${status.kubeconfig}`, ...rows, ''].join('\n');
}

const seconds = (fromMs: number, toMs = Date.now()): string => ((toMs - fromMs) / 1_000).toFixed(1);

process.exitCode = await main(process.argv.slice(2));

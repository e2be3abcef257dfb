import { setTimeout as sleep } from 'node:timers/promises';
import { OperationalError } from '@settlement/kernel/errors';
import pg from 'pg';
import { GenericContainer, getContainerRuntimeClient } from 'testcontainers';
import { imageFor, OWNER_LABEL, sweepContainers } from './container-engine';
import { ContainerRuns } from './container-runs';
import { freePort } from './free-port';
import type { LocalPostgres } from './local-postgres';
import { descendantsOf, signal } from './process-tree';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 60_000;

/** A Postgres in a container, by whichever engine answers at the Docker API. `settings` as in postgresql.conf. */
export async function startPostgresContainer(settings: Readonly<Record<string, string>>): Promise<LocalPostgres> {
  const client = await getContainerRuntimeClient();
  await sweepContainers(client);
  const port = await freePort();
  const { reference } = await imageFor('postgresql', client);
  const container = await new GenericContainer(reference)
    .withLabels({ [OWNER_LABEL]: String(process.pid) })
    .withExposedPorts({ container: 5432, host: port })
    .withEnvironment({ POSTGRES_HOST_AUTH_METHOD: 'trust', POSTGRES_INITDB_ARGS: '--locale=C.UTF-8', TZ: 'UTC' })
    .withCommand(['postgres', ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])])
    .withWaitStrategy(new ContainerRuns())
    .withStartupTimeout(START_TIMEOUT_MS)
    .start();
  const handle = client.container.getById(container.getId());
  // The engine's own view of the first process: on this machine a pid like any other, elsewhere (a virtual machine) not to be seen.
  let pid = 0;
  let stopped = false;
  let frozen: readonly number[] = [];
  const thaw = (): void => {
    for (const each of frozen) signal(each, 'SIGCONT');
    frozen = [];
  };
  const ready = async (): Promise<void> => {
    await postgresAnswers(port);
    pid = (await handle.inspect()).State.Pid;
  };
  const cluster: LocalPostgres = {
    host: HOST,
    port,
    dataDir: `container ${container.getId()}`,
    logFile: `container ${container.getId()}`,
    get pid() {
      return pid;
    },
    urlFor: (database, user = 'postgres') => `postgresql://${encodeURIComponent(user)}@${HOST}:${port}/${encodeURIComponent(database)}`,
    async stop() {
      if (stopped) return;
      stopped = true;
      thaw();
      await container.stop({ remove: true, removeVolumes: true, timeout: 1_000 });
    },
    async kill9() {
      await handle.kill();
    },
    async shutDown() {
      thaw();
      await handle.stop();
    },
    async start() {
      await handle.start();
      await ready();
    },
    freeze() {
      const group = [pid, ...descendantsOf(pid)];
      if (group.length < 2) throw new OperationalError('POSTGRES_OUT_OF_REACH', 'the processes of this container are not on this machine', 'not-done');
      frozen = group;
      for (const each of frozen) signal(each, 'SIGSTOP');
    },
    thaw,
  };
  try {
    await ready();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** Official images start a first time to set up and then again, so that one good answer on the socket inside means nothing; this is outside. */
async function postgresAnswers(port: number): Promise<void> {
  const deadlineMs = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const client = new pg.Client({ host: HOST, port, user: 'postgres', database: 'postgres', connectionTimeoutMillis: 1_000 });
    try {
      await client.connect();
      await client.query('SELECT 1');
      await client.end();
      return;
    } catch (error) {
      await client.end();
      if (Date.now() > deadlineMs) throw new OperationalError('POSTGRES_NOT_STARTED', `the container at port ${port} did not answer within ${START_TIMEOUT_MS} ms`, 'not-done', { cause: error });
      await sleep(50);
    }
  }
}

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { attempt, run } from './command';
import { containersEnvironment } from './engine';

/** The newest image of this name in Podman's store; undefined when there is none. */
function newest(part: string, environment: NodeJS.ProcessEnv): string | undefined {
  const { status, stdout } = spawnSync('podman', ['images', '--sort', 'created', '--format', '{{.Repository}}:{{.Tag}}', `localhost/settlement-${part}`], { env: environment, encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').find((line) => line !== '' && !line.includes(':inputs-')) : undefined;
}

const environment: NodeJS.ProcessEnv = { ...process.env, ...containersEnvironment() };
const podman = process.platform === 'linux' && spawnSync('podman', ['info'], { env: environment }).status === 0;
const postgres = podman ? newest('postgresql', environment) : undefined;
const kafka = podman ? newest('kafka', environment) : undefined;
const missing = !podman ? 'podman does not answer (on Debian: deploy/images/prepare)' : postgres === undefined || kafka === undefined ? 'no images are built (npm run images -- --only postgresql,kafka)' : undefined;
if (missing !== undefined) process.stderr.write(`\n!!! SKIPPED: Postgres and Kafka in containers by Podman's service: ${missing}\n\n`);

let folder = '';
let service: ChildProcess | undefined;

beforeAll(async () => {
  if (missing !== undefined) return;
  folder = mkdtempSync(join(tmpdir(), 'settlement-podman-'));
  const socket = join(folder, 'podman.sock');
  service = spawn('podman', ['system', 'service', '--time', '0', `unix://${socket}`], { env: environment, stdio: 'ignore' });
  const deadline = Date.now() + 20_000;
  while (!existsSync(socket)) {
    if (service.exitCode !== null || Date.now() > deadline) throw new Error('podman system service does not open its socket');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}, 30_000);

afterAll(async () => {
  if (service !== undefined && service.exitCode === null) {
    const ended = new Promise((resolve) => service?.once('exit', resolve));
    service.kill('SIGTERM');
    await ended;
  }
  if (folder !== '') rmSync(folder, { recursive: true, force: true });
});

it.skipIf(missing !== undefined)('the event store and the Kafka feed keep their contracts on containers of the images built here', async () => {
  const specs = ['libs/local-stack/src/postgres.int.spec.ts', 'libs/local-stack/src/kafka.int.spec.ts', 'libs/event-store/src/postgres-event-store.int.spec.ts', 'libs/feed/src/kafka-feed.int.spec.ts'];
  const started = new Date().toISOString();
  const { code, stdout, stderr } = await attempt(process.execPath, [join(repositoryRoot, 'node_modules/vitest/vitest.mjs'), 'run', '--project', 'int', ...specs], {
    cwd: repositoryRoot,
    environment: {
      ...environment,
      DOCKER_HOST: `unix://${join(folder, 'podman.sock')}`,
      // A part that cannot run in a container is an error here, and not a process of this machine.
      SETTLEMENT_CONTAINERS: 'always',
      SETTLEMENT_POSTGRES_IMAGE: postgres,
      SETTLEMENT_KAFKA_IMAGE: kafka,
    },
    timeoutMs: 580_000,
  });
  expect(code, `${stdout}\n${stderr}`).toBe(0);
  // By Podman's own log: that it really were containers of these images.
  const events = await run('podman', ['events', '--stream=false', '--since', started, '--filter', 'event=start', '--format', '{{.Image}}'], { environment });
  // By identity: Podman may call an image by another of its names.
  const identities = async (names: readonly (string | undefined)[]): Promise<ReadonlySet<string>> => {
    const ids = await run('podman', ['image', 'inspect', '--format', '{{.Id}}', ...new Set(names.filter((each) => each !== undefined))], { environment });
    return new Set(ids.trim().split('\n'));
  };
  expect(await identities(events.trim().split('\n'))).toEqual(await identities([postgres, kafka]));
  const left = await run('podman', ['ps', '--all', '--quiet', '--filter', 'label=settlement.local-stack.owner'], { environment });
  expect(left.trim()).toBe('');
}, 600_000);

import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { ContainerRuntimeClient } from 'testcontainers';
import { KAFKA_VERSION } from './kafka-jars';

/**
 * Whether and with what parts of the stack run in containers. `SETTLEMENT_CONTAINERS`: `auto` (default: where a Docker-compatible API
 * answers), `never`, `always` (a part that cannot is an error instead of a reason to start it as a process).
 */
export const containersRequired = (): boolean => process.env['SETTLEMENT_CONTAINERS'] === 'always';

const PING_TIMEOUT_MS = 1_500;

/** Sockets in the order that they are tried; Podman's service speaks Docker's language at its own place. */
function addresses(): readonly string[] {
  const given = process.env['DOCKER_HOST'];
  if (given !== undefined && given !== '') return [given];
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return ['/var/run/docker.sock', ...(runtime === undefined ? [] : [join(runtime, 'podman/podman.sock')]), '/run/podman/podman.sock'].map((path) => `unix://${path}`);
}

/** A short look: no engine is the usual case on a laptop and must not cost seconds. */
export async function containersAnswer(): Promise<boolean> {
  if (process.env['SETTLEMENT_CONTAINERS'] === 'never') return false;
  for (const address of addresses()) {
    const server = await ping(address);
    if (server === undefined) continue;
    if (process.env['DOCKER_HOST'] === undefined && !address.endsWith('/var/run/docker.sock')) process.env['DOCKER_HOST'] = address;
    // Podman has no use for the container that cleans up after Docker's, and without a registry it is not to be had: see `sweepContainers`.
    if (server === 'podman') process.env['TESTCONTAINERS_RYUK_DISABLED'] ??= 'true';
    return true;
  }
  if (containersRequired()) throw new Error(`SETTLEMENT_CONTAINERS=always, and no Docker-compatible API answers at ${addresses().join(', ')}`);
  return false;
}

async function ping(address: string): Promise<'docker' | 'podman' | undefined> {
  const target = address.startsWith('unix://') ? { socketPath: address.slice('unix://'.length) } : endpointOf(address);
  if (target === undefined || ('socketPath' in target && !existsSync(target.socketPath))) return undefined;
  return new Promise((done) => {
    const asking = request({ ...target, path: '/_ping', timeout: PING_TIMEOUT_MS }, (response) => {
      response.resume();
      done(response.statusCode !== 200 ? undefined : response.headers['libpod-api-version'] === undefined ? 'docker' : 'podman');
    });
    asking.once('timeout', () => asking.destroy());
    asking.once('error', () => {
      done(undefined);
    });
    asking.end();
  });
}

function endpointOf(address: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:tcp|http):\/\/([^:/]+):([0-9]+)/.exec(address);
  return match?.[1] === undefined ? undefined : { host: match[1], port: Number(match[2]) };
}

const images = {
  postgresql: { variable: 'SETTLEMENT_POSTGRES_IMAGE', official: 'postgres:18' },
  kafka: { variable: 'SETTLEMENT_KAFKA_IMAGE', official: `apache/kafka:${KAFKA_VERSION}` },
} as const;

export interface ChosenImage {
  readonly reference: string;
  /** Built by `npm run images`: takes our own variables. */
  readonly own: boolean;
}

/** The image named by the environment, else the newest that `npm run images` has put into this engine, else the official one. */
export async function imageFor(part: keyof typeof images, client: ContainerRuntimeClient): Promise<ChosenImage> {
  const { variable, official } = images[part];
  const given = process.env[variable];
  const own = (reference: string): boolean => reference.includes(`settlement-${part}`);
  if (given !== undefined && given !== '') return { reference: given, own: own(given) };
  const built = (await client.container.dockerode.listImages({ filters: { reference: [`localhost/settlement-${part}`] } }))
    .flatMap(({ RepoTags }) => RepoTags ?? [])
    .filter((tag) => own(tag) && !tag.includes(':inputs-'))
    .sort();
  const [reference] = built;
  return reference === undefined ? { reference: official, own: false } : { reference, own: true };
}

/** Carries the process that started a container, so that a later one can see whether it still lives. */
export const OWNER_LABEL = 'settlement.local-stack.owner';
let swept = false;

/** Removes containers whose test process was killed before it could. Once a process. */
export async function sweepContainers(client: ContainerRuntimeClient): Promise<void> {
  if (swept || !existsSync('/proc/self')) return;
  swept = true;
  const { dockerode } = client.container;
  for (const { Id, Labels } of await dockerode.listContainers({ all: true, filters: { label: [OWNER_LABEL] } })) {
    const owner = Labels[OWNER_LABEL];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    await dockerode.getContainer(Id).remove({ force: true, v: true });
  }
}

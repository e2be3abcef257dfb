import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { cacheFolder } from '@settlement/config/cache-folder';
import { attempt, run, type CommandOptions } from './command';

export type EngineName = 'docker' | 'podman' | 'buildah';

export const engineNames: readonly EngineName[] = ['docker', 'podman', 'buildah'];

export interface BuildRequest {
  readonly dockerfile: string;
  readonly context: string;
  readonly ignoreFile?: string | undefined;
  readonly tag: string;
  readonly args: Readonly<Record<string, string>>;
  /** Folders beside the context, by name. */
  readonly contexts?: Readonly<Record<string, string>>;
  /** Files that are there while a step runs and never in the image, by name. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** `HOST:CONTAINER:MODE`, for steps that install; podman and buildah only. */
  readonly volumes?: readonly string[];
  /** Seconds since 1970 that everything in the image carries. */
  readonly epochSeconds: number;
  readonly noCache?: boolean;
  /** A stage of the file instead of its last. */
  readonly target?: string;
}

export interface Engine {
  readonly name: EngineName;
  readonly environment: NodeJS.ProcessEnv;
  build(request: BuildRequest, options: CommandOptions): Promise<void>;
  /** `sha256:…` of the image's configuration, which names its layers; undefined when there is no such image. */
  idOf(reference: string, options?: CommandOptions): Promise<string | undefined>;
  tag(from: string, to: string, options?: CommandOptions): Promise<void>;
  remove(references: readonly string[], options?: CommandOptions): Promise<void>;
  /** References below `localhost/settlement-`, in no order. */
  references(options?: CommandOptions): Promise<readonly string[]>;
  /** Removes what a build that was stopped has left in our own store: its working containers, their mounts, its temporary files. Not while another runs. */
  removeRemains(): Promise<void>;
  /** Removes layers of ours that no named image needs. Docker's build cache clears itself away. */
  prune(options?: CommandOptions): Promise<void>;
  /** A docker-archive, which `ctr images import` and `kind load image-archive` read. */
  save(reference: string, file: string, options?: CommandOptions): Promise<void>;
  load(file: string, options?: CommandOptions): Promise<void>;
  /** Whether the registry of this image has it, within a few seconds. */
  reaches(reference: string, options?: CommandOptions): Promise<boolean>;
  pull(reference: string, options?: CommandOptions): Promise<void>;
}

const VENDOR_LABEL = 'org.opencontainers.image.vendor=Settlement';
const PROBE_TIMEOUT_MS = 20_000;
const REGISTRY_TIMEOUT_MS = 8_000;

/** The first engine that answers `info`; a client without its service does not. Throws `NO_ENGINE` that says what to install. */
export async function findEngine(wanted: EngineName | undefined, options: CommandOptions = {}): Promise<Engine> {
  const reasons: string[] = [];
  for (const name of wanted === undefined ? engineNames : [wanted]) {
    const environment = name === 'docker' ? process.env : { ...process.env, ...containersEnvironment() };
    const { code, stderr } = await attempt(name, name === 'docker' ? ['info', '--format', '{{.ServerVersion}}'] : ['info'], { ...options, environment, timeoutMs: PROBE_TIMEOUT_MS });
    if (code === 0) return engine(name, environment);
    reasons.push(`${name}: ${stderr.trim().split('\n').at(-1)?.slice(0, 160) ?? `ended with ${code}`}`);
  }
  throw new OperationalError(
    'NO_ENGINE',
    `nothing that builds images answers here.\n  ${reasons.join('\n  ')}\nNext step: start Docker, or on Debian run  deploy/images/prepare  as root (podman, runc, debootstrap).`,
    'not-done',
  );
}

/**
 * Settings for podman and buildah as root on a machine without a service manager, where their defaults (systemd's cgroups, crun, more
 * files than the machine allows) fail; images then lie in our cache. Elsewhere nothing: the user's own settings hold.
 */
export function containersEnvironment(): Readonly<Record<string, string>> {
  if (process.env['CONTAINERS_CONF'] !== undefined) return {};
  if (process.getuid?.() !== 0 || existsSync('/run/systemd/system')) return {};
  const folder = join(cacheFolder(), 'engine');
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary, { recursive: true });
  const configuration = join(folder, 'containers.conf');
  const storage = join(folder, 'storage.conf');
  writeFileSync(configuration, '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n\n[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nexit_command_delay = 1\n');
  writeFileSync(storage, `[storage]\ndriver = "overlay"\ngraphroot = "${join(folder, 'storage')}"\nrunroot = "/run/settlement-engine"\n\n[storage.options.overlay]\n# No mount of the store on itself, which would stay behind.\nskip_mount_home = "true"\n`);
  // TMPDIR: layers on their way, and the packages that builds keep between runs, belong to the cache as well.
  return { CONTAINERS_CONF: configuration, CONTAINERS_STORAGE_CONF: storage, TMPDIR: temporary };
}

/** The arguments of a build, apart from running it, so that each engine's can be looked at. */
export function buildArguments(name: EngineName, request: BuildRequest): readonly string[] {
  const { dockerfile, context, tag, args, contexts = {}, secrets = {}, volumes = [], epochSeconds, target } = request;
  const each = (flag: string, record: Readonly<Record<string, string>>): string[] => Object.entries(record).flatMap(([key, value]) => [flag, `${key}=${value}`]);
  return [
    'build',
    ...['--file', dockerfile, '--tag', tag],
    ...each('--build-arg', args),
    ...each('--build-context', contexts),
    ...Object.entries(secrets).flatMap(([id, source]) => ['--secret', `id=${id},src=${source}`]),
    ...(target === undefined ? [] : ['--target', target]),
    ...(request.noCache === true ? ['--no-cache'] : []),
    // The host's network is what reaches the package registries; nothing of it is in the image.
    ...['--network', 'host'],
    ...(name === 'docker'
      ? ['--provenance=false', '--build-arg', `SOURCE_DATE_EPOCH=${epochSeconds}`]
      : [
          ...(name === 'podman' ? ['--isolation', 'chroot'] : ['--isolation', 'chroot', '--layers']),
          // Docker's own format has a place for the build container's random host name, and these fill it in: no two digests were equal.
          ...['--format', 'oci', '--timestamp', String(epochSeconds)],
          ...(request.ignoreFile === undefined ? [] : ['--ignorefile', request.ignoreFile]),
          ...volumes.flatMap((volume) => ['--volume', volume]),
        ]),
    context,
  ];
}

/** A Dockerfile's last stage with all that it copies from others taken from the stage `build` of `image`. */
export function lastStage(dockerfile: string, image: string): string {
  const stages = [...dockerfile.matchAll(/^FROM .*$/gm)].map(({ index }) => index);
  return `${dockerfile.slice(0, stages[0])}FROM ${image} AS build\n\n${dockerfile.slice(stages.at(-1))}`;
}

function engine(name: EngineName, environment: NodeJS.ProcessEnv): Engine {
  const call = (args: readonly string[], options: CommandOptions = {}): Promise<string> => run(name, args, { ...options, environment });
  const look = (args: readonly string[], options: CommandOptions = {}) => attempt(name, args, { ...options, environment });
  const ownStore = environment['CONTAINERS_STORAGE_CONF']?.startsWith(cacheFolder()) === true;
  return {
    name,
    environment,
    async build(request, options) {
      await call(buildArguments(name, request), options);
    },
    async idOf(reference, options) {
      const args = name === 'buildah' ? ['inspect', '--type', 'image', '--format', '{{.FromImageID}}', reference] : ['image', 'inspect', '--format', '{{.Id}}', reference];
      const { code, stdout } = await look(args, options);
      const id = stdout.trim();
      return code !== 0 || id === '' ? undefined : id.startsWith('sha256:') ? id : `sha256:${id}`;
    },
    async tag(from, to, options) {
      await call(['tag', from, to], options);
    },
    async remove(references, options) {
      if (references.length > 0) await look([...(name === 'docker' ? ['image', 'rm'] : ['rmi']), ...references], options);
    },
    async references(options) {
      const names = await call(['images', '--format', name === 'buildah' ? '{{.Name}}:{{.Tag}}' : '{{.Repository}}:{{.Tag}}'], options);
      return names.split('\n').map((each) => each.trim()).filter((each) => each.startsWith('localhost/settlement-') && !each.endsWith(':<none>'));
    },
    async removeRemains() {
      if (name === 'docker' || !ownStore) return;
      const said = await look(name === 'podman' ? ['ps', '--all', '--external', '--format', '{{.ID}} {{.Names}}'] : ['containers', '--format', '{{.ContainerID}} {{.ContainerName}}']);
      const working = said.stdout.split('\n').map((line) => line.split(' ')).filter(([, container]) => /-working-container(-\d+)?$/.test(container ?? '')).map(([id]) => id ?? '');
      if (working.length > 0) await look(['rm', ...(name === 'podman' ? ['--force'] : []), ...working]);
      const temporary = environment['TMPDIR'] ?? '';
      if (temporary.startsWith(cacheFolder())) for (const each of readdirSync(temporary)) if (/^(buildah|storage)\d+$/.test(each)) rmSync(join(temporary, each), { recursive: true, force: true });
    },
    async prune(options) {
      // By the label that our files put first; buildah cannot choose, and so only clears a store that is ours alone.
      if (name === 'podman') await look(['image', 'prune', '--force', '--filter', `label=${VENDOR_LABEL}`], options);
      if (name === 'buildah' && ownStore) await look(['rmi', '--prune'], options);
    },
    async save(reference, file, options) {
      rmSync(file, { force: true });
      if (name === 'buildah') await call(['push', '--quiet', reference, `docker-archive:${file}:${reference}`], options);
      else await call(['save', ...(name === 'podman' ? ['--quiet', '--format', 'docker-archive'] : []), '--output', file, reference], options);
    },
    async load(file, options) {
      await call(name === 'buildah' ? ['pull', '--quiet', `docker-archive:${file}`] : ['load', '--quiet', '--input', file], options);
    },
    async reaches(reference, options) {
      if ((await look(name === 'buildah' ? ['inspect', '--type', 'image', reference] : ['image', 'inspect', reference], options)).code === 0) return true;
      // A manifest is a few kilobytes: enough to know whether a registry is there, without fetching layers. buildah has no such look.
      return (await look(name === 'buildah' ? ['pull', '--quiet', reference] : ['manifest', 'inspect', reference], { ...options, timeoutMs: REGISTRY_TIMEOUT_MS })).code === 0;
    },
    async pull(reference, options) {
      await call(['pull', '--quiet', reference], options);
    },
  };
}

/** What builds may see of this machine: the registries' settings and its certificate authorities, as secrets of single steps. */
export function buildSecrets(): Readonly<Record<string, string>> {
  const npmrc = process.env['NPM_CONFIG_USERCONFIG'] ?? join(homedir(), '.npmrc');
  const authorities = process.env['NODE_EXTRA_CA_CERTS'];
  return {
    ...(existsSync(npmrc) ? { npmrc } : {}),
    ...(authorities !== undefined && existsSync(authorities) ? { ca: authorities } : {}),
  };
}

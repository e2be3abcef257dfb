import { parseArgs } from 'node:util';
import { systemClock } from '@settlement/config/system-ports';
import { OperationalError } from '@settlement/kernel/errors';
import { buildImages, verifyImages, type BuildImagesOptions } from '../images/build-images';
import { imageNames, type ImageName } from '../images/catalogue';
import { engineNames, type EngineName } from '../images/engine';

const help = `npm run images [-- options]

Builds the container images of the five services and, for local clusters and tests, of the chain, Postgres and Kafka, with
docker, podman or buildah, whichever answers. What has not changed is not built again.

  --only A,B        some of: ${imageNames.join(', ')}
  --tag T           instead of a digest of all that goes in
  --engine E        ${engineNames.join(', ')}
  --no-cache        build everything again
  --verify A,B      build these, or all, again from nothing and compare the digests (exit code 1 when one differs)
  --verbose         show every line of the engine
  --json            print [{image, digest, tar, bytes, sbom}] and nothing else to standard output
  --help            this text

Where no image registry answers, base images are made from Debian packages: as root, with debootstrap
(on Debian, deploy/images/prepare installs what is missing). SETTLEMENT_IMAGE_BASES=local makes them in any case.
Archives and bills of materials lie in the cache, ~/.cache/settlement/images/TAG unless XDG_CACHE_HOME says otherwise.
`;

interface Wishes extends Pick<BuildImagesOptions, 'engine' | 'tag' | 'only' | 'noCache'> {
  readonly json: boolean;
  readonly verify?: readonly ImageName[];
  readonly verbose: boolean;
}

/** Throws an `Error` with the sentence for the user when an option is wrong. */
function parse(args: readonly string[]): Wishes | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      verify: { type: 'string' },
      tag: { type: 'string' },
      engine: { type: 'string' },
      'no-cache': { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const { tag, engine, only, verify } = values;
  // What container engines accept, short enough that the prefix of Postgres' tag still fits.
  if (tag !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(tag)) throw new Error(`--tag must be letters, digits, dots, dashes and underscores, not '${tag}'`);
  if (tag === 'latest') throw new Error('--tag latest says nothing: a cluster could not tell one build from the next');
  const isEngine = (text: string): text is EngineName => (engineNames as readonly string[]).includes(text);
  if (engine !== undefined && !isEngine(engine)) throw new Error(`--engine must be one of ${engineNames.join(', ')}, not '${engine}'`);
  const isImage = (text: string): text is ImageName => (imageNames as readonly string[]).includes(text);
  const listed = (option: string, text: string): readonly ImageName[] => {
    const names = text.split(',').map((name) => name.trim().replace(/^settlement-/, '')).filter((name) => name !== '');
    const stranger = names.find((name) => !isImage(name));
    if (stranger !== undefined) throw new Error(`${option} knows no '${stranger}': ${imageNames.join(', ')}`);
    if (names.length === 0) throw new Error(`${option} names no image`);
    return names.filter(isImage);
  };
  return {
    json: values.json,
    verbose: values.verbose,
    noCache: values['no-cache'],
    ...(tag === undefined ? {} : { tag }),
    ...(engine === undefined ? {} : { engine }),
    ...(verify === undefined ? {} : { verify: verify === 'all' ? imageNames : listed('--verify', verify) }),
    ...(only === undefined ? {} : { only: listed('--only', only) }),
  };
}

function wishesOrExit(): Wishes {
  try {
    const wishes = parse(process.argv.slice(2));
    if (wishes !== 'help') return wishes;
    process.stdout.write(help);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\nnpm run images -- --help lists the options.\n`);
    process.exit(2);
  }
}

const { json, verbose, verify, ...wishes } = wishesOrExit();
const say = (text: string): void => { process.stderr.write(`${text}\n`); };
const stopping = new AbortController();
// A half-built image has no record in the cache and is built again; layers that are whole stay.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (!stopping.signal.aborted) say('stopping …');
    stopping.abort();
  });
}
const startedMs = systemClock.monotonicMs();
try {
  const options: BuildImagesOptions = { ...wishes, nowMs: systemClock.nowMs(), say, signal: stopping.signal, ...(verbose ? { onLine: say } : {}) };
  if (verify === undefined) await buildAll(options);
  else await verifyAll(verify, options);
} catch (error) {
  if (stopping.signal.aborted) {
    say('stopped; what is whole stays in the cache');
    process.exit(130);
  }
  say(`✗ ${error instanceof OperationalError ? error.message : String(error instanceof Error ? error.stack : error)}`);
  process.exit(1);
}

function took(): string {
  return `${((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1)} s`;
}

async function buildAll(options: BuildImagesOptions): Promise<void> {
  const { tag, images } = await buildImages(options);
  if (json) process.stdout.write(`${JSON.stringify(images.map(({ image, digest, tar, bytes, sbom }) => ({ image, digest, tar, bytes, sbom })))}\n`);
  else for (const { image, digest, bytes } of images) process.stdout.write(`${image.padEnd(60)} ${digest.slice(0, 19)} ${(bytes / 1e6).toFixed(0).padStart(5)} MB\n`);
  const made = images.filter((image) => image.made).length;
  say(`${images.length} images with tag ${tag}, ${made === 0 ? 'all from the cache' : `${made} made`}, ${took()}`);
}

async function verifyAll(names: readonly ImageName[], options: BuildImagesOptions): Promise<void> {
  const verified = (await verifyImages(names, options)).map((each) => ({ ...each, same: each.first === each.again }));
  if (json) process.stdout.write(`${JSON.stringify(verified)}\n`);
  for (const { image, first, again, same } of verified) say(`${same ? '✓' : '✗'} ${image}: ${first}\n  built again from nothing: ${again}`);
  const differing = verified.filter(({ same }) => !same).length;
  say(`${verified.length - differing} of ${verified.length} images have the same digest again, ${took()}`);
  if (differing > 0) process.exitCode = 1;
}

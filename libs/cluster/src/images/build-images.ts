import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from '@settlement/config/cache-folder';
import { repositoryRoot } from '@settlement/config/repository-root';
import { OperationalError } from '@settlement/kernel/errors';
import { locateKafkaJars } from '@settlement/local-stack/kafka-jars';
import { alone, type Exclusion } from '../alone';
import { readRecord, removeRecord, recordsOf, removeTag, staleTags, tagFolder, tagsInUse, touchTag, writeRecord, type ImageRecord } from './cache';
import { commitOf, imageNames, inputsOf, isProgramImage, programImages, referenceOf, tagOf, type CommitFacts, type ImageName, type Inputs } from './catalogue';
import type { CommandOptions } from './command';
import { buildSecrets, findEngine, lastStage, type BuildRequest, type Engine, type EngineName } from './engine';
import { aptVolumes, basesFor, forgetOtherBases, type Bases } from './local-base';
import { writeBill } from './bill';

export interface BuildImagesOptions {
  readonly engine?: EngineName;
  /** Of the digest of all inputs when absent. */
  readonly tag?: string;
  readonly only?: readonly ImageName[];
  /** Builds again whatever the cache has. */
  readonly noCache?: boolean;
  readonly nowMs: number;
  readonly say: (text: string) => void;
  readonly signal?: AbortSignal;
  /** Every line of the engine. */
  readonly onLine?: (line: string) => void;
}

export interface ImageSet {
  readonly tag: string;
  readonly engine: EngineName;
  readonly images: readonly (ImageRecord & { readonly made: boolean })[];
}

const BUILDER = 'localhost/settlement-builder:newest';
/** Builds share the engine's storage and the cache: two of one set would only do it twice. */
const buildsOfImages = (): Exclusion => ({ path: join(cacheFolder(), 'images.lock'), other: 'another build of images' });
/** Tags that stay in the cache; a set takes some 2 GB. */
const TAGS_KEPT = 3;

/**
 * Builds what is not in the cache and answers where everything is. Images whose inputs have not changed are not built again, under
 * whatever tag they were built before.
 */
export function buildImages(options: BuildImagesOptions): Promise<ImageSet> {
  return alone(buildsOfImages(), options.say, options.signal, () => build(options));
}

async function build(options: BuildImagesOptions): Promise<ImageSet> {
  const { say, only = imageNames } = options;
  const commands: CommandOptions = { ...(options.signal === undefined ? {} : { signal: options.signal }), ...(options.onLine === undefined ? {} : { onLine: options.onLine }) };
  const quiet: CommandOptions = options.signal === undefined ? {} : { signal: options.signal };
  const engine = await findEngine(options.engine, quiet);
  const bases = await basesFor(engine, options.nowMs, say, quiet);
  // Of all images, also when only some are wanted: they belong to one set.
  const inputs = await inputsOf(imageNames, bases.identity, quiet);
  const tag = options.tag ?? tagOf(inputs);
  say(`${engine.name}, ${bases.local ? 'bases made here' : 'bases from a registry'}, tag ${tag}`);
  tagFolder(tag);
  const facts = factsOf(inputs);
  const builder = {};
  const images: (ImageRecord & { made: boolean })[] = [];
  for (const name of only) {
    const input = inputsFor(inputs, name);
    const kept = options.noCache === true ? undefined : readRecord(tag, name);
    if (kept?.inputs === keyOf(input, facts(name)) && (await engine.idOf(kept.image, quiet)) === kept.digest) {
      images.push({ ...kept, made: false });
      say(`  = ${kept.image}`);
      continue;
    }
    images.push({ ...(await make({ name, tag, input, facts, builder, engine, bases, options, commands, quiet })), made: true });
  }
  touchTag(tag);
  const made = only.filter((_, index) => images[index]?.made === true);
  if (made.length > 0) {
    await refuseWhatChanged(made, inputs, await inputsOf(imageNames, bases.identity, quiet), async (name) => {
      removeRecord(tag, name);
      await engine.remove([referenceOf(name, tag), byInputs(name, keyOf(inputsFor(inputs, name), facts(name)))]);
    });
    await clearAway(engine, bases, quiet);
  }
  return { tag, engine: engine.name, images };
}

/**
 * An image is named for the sources that were there when its build began. If they are others at its end, nobody knows which of
 * them it holds: it is forgotten, `forget` sees to that, and the build fails with `SOURCES_CHANGED` (done: nothing else was touched).
 */
export async function refuseWhatChanged(made: readonly ImageName[], before: ReadonlyMap<ImageName, Inputs>, after: ReadonlyMap<ImageName, Inputs>, forget: (name: ImageName) => Promise<void>): Promise<void> {
  const changed = made.filter((name) => before.get(name)?.digest !== after.get(name)?.digest);
  for (const name of changed) await forget(name);
  if (changed.length > 0) throw new OperationalError('SOURCES_CHANGED', `the sources of ${changed.join(', ')} changed while they were built; build again once they are still`, 'done');
}

function inputsFor(inputs: ReadonlyMap<ImageName, Inputs>, name: ImageName): Inputs {
  const input = inputs.get(name);
  if (input === undefined) throw new OperationalError('INPUTS_UNKNOWN', `nothing is known of ${name}`, 'not-done');
  return input;
}

/** Under the digest of its inputs an image outlives the tag: a set with one changed service builds one service. */
const byInputs = (name: ImageName, key: string): string => referenceOf(name, `inputs-${key.slice(0, 24)}`);

export interface Verification {
  readonly image: string;
  readonly first: string;
  readonly again: string;
}

/**
 * Builds images again from nothing (no layer of a former build) and answers both digests of each. The stages that all images of our
 * code share are built once for all of them, from nothing as well.
 */
export function verifyImages(names: readonly ImageName[], options: BuildImagesOptions): Promise<readonly Verification[]> {
  return alone(buildsOfImages(), options.say, options.signal, async () => {
    const { images, tag } = await build({ ...options, only: names });
    const quiet: CommandOptions = options.signal === undefined ? {} : { signal: options.signal };
    const commands: CommandOptions = { ...quiet, ...(options.onLine === undefined ? {} : { onLine: options.onLine }) };
    const engine = await findEngine(options.engine, quiet);
    const bases = await basesFor(engine, options.nowMs, options.say, quiet);
    // Of all images: each one's bill of materials is part of the layer that the builder makes for all.
    const inputs = await inputsOf(imageNames, bases.identity, quiet);
    const facts = factsOf(inputs);
    const builder = {};
    const references: string[] = [];
    try {
      const verified: Verification[] = [];
      for (const { image, digest: first } of images) {
        const name = names[verified.length];
        if (name === undefined) throw new OperationalError('IMAGE_LOST', `${image} was not asked for`, 'not-done');
        const input = inputsFor(inputs, name);
        const reference = referenceOf(name, `again-${input.digest.slice(0, 24)}`);
        references.push(reference);
        options.say(`  building ${image} again from nothing …`);
        const folder = mkdtempSync(join(tmpdir(), 'settlement-images-'));
        try {
          await construct({ name, tag, input, facts, builder, engine, bases, options: { ...options, noCache: true }, commands, quiet }, reference, folder);
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
        verified.push({ image, first, again: (await engine.idOf(reference, quiet)) ?? 'lost' });
      }
      return verified;
    } finally {
      await engine.removeRemains();
      await engine.remove(references);
      await engine.prune();
    }
  });
}

/** Time and commit of each image; git is asked once for each that is. */
type Facts = (name: ImageName) => CommitFacts;

function factsOf(inputs: ReadonlyMap<ImageName, Inputs>): Facts {
  const known = new Map<ImageName, CommitFacts>();
  return (name) => {
    const facts = known.get(name) ?? commitOf(inputs.get(name)?.files ?? []);
    known.set(name, facts);
    return facts;
  };
}

/** What decides whether an image is made again. The commit is in its labels: one made of uncommitted files is made again once they are committed. */
const keyOf = (input: Inputs, { epochSeconds, revision }: CommitFacts): string => createHash('sha256').update(`${input.digest} ${epochSeconds} ${revision}`).digest('hex');

interface Making {
  readonly name: ImageName;
  readonly tag: string;
  readonly input: Inputs;
  readonly facts: Facts;
  /** Whether the stages that all images share are there in this run. */
  readonly builder: { made?: Promise<void> };
  readonly engine: Engine;
  readonly bases: Bases;
  readonly options: BuildImagesOptions;
  readonly commands: CommandOptions;
  readonly quiet: CommandOptions;
}

async function make(making: Making): Promise<ImageRecord> {
  const { name, tag, input, engine, options, quiet } = making;
  const startedMs = performance.now();
  const image = referenceOf(name, tag);
  const key = keyOf(input, making.facts(name));
  const own = byInputs(name, key);
  const known = options.noCache === true ? undefined : await engine.idOf(own, quiet);
  if (known === undefined) {
    options.say(`  + ${image} …`);
    const folder = mkdtempSync(join(tmpdir(), 'settlement-images-'));
    try {
      await construct(making, own, folder);
    } catch (error) {
      await engine.removeRemains();
      throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  await engine.tag(own, image, quiet);
  const digest = await engine.idOf(image, quiet);
  if (digest === undefined) throw new OperationalError('IMAGE_LOST', `${engine.name} built ${image} and does not know it`, 'unknown');
  const tar = join(tagFolder(tag), `settlement-${name}.tar`);
  await engine.save(image, tar, quiet);
  const sbom = join(tagFolder(tag), `settlement-${name}.cdx.json`);
  await writeBill({ name, tar, sbom, epochSeconds: making.facts(name).epochSeconds });
  const record: ImageRecord = { image, digest, tar, bytes: statSync(tar).size, inputs: key, sbom };
  writeRecord(tag, name, record);
  options.say(`  ${known === undefined ? '✓' : '~'} ${image} (${(record.bytes / 1e6).toFixed(0)} MB, ${((performance.now() - startedMs) / 1000).toFixed(1)} s)`);
  return record;
}

async function construct(making: Making, reference: string, folder: string): Promise<void> {
  const request = await requestOf(making, reference, folder);
  await making.engine.build(isProgramImage(making.name) && making.engine.name !== 'docker' ? await onBuilder(making, request, folder) : request, making.commands);
}

/**
 * The same build without the stages that all images share: those become an image of their own, once a run. BuildKit does so by itself;
 * podman and buildah look through all steps again for every image, and would lose them with the layers that nobody names.
 */
async function onBuilder({ facts, builder, engine, commands }: Making, request: BuildRequest, folder: string): Promise<BuildRequest> {
  builder.made ??= engine.build({ ...request, tag: BUILDER, target: 'build', epochSeconds: Math.max(...programImages.map((each) => facts(each).epochSeconds)) }, commands);
  await builder.made;
  const dockerfile = join(folder, 'Dockerfile');
  writeFileSync(dockerfile, lastStage(readFileSync(request.dockerfile, 'utf8'), BUILDER));
  const { EPOCHS: _epochs, ...args } = request.args;
  const context = join(folder, 'empty');
  mkdirSync(context);
  // Without the cache of former builds: a step that is taken from it keeps the time of the commit that it was first made for. It is
  // only copying.
  return { ...request, dockerfile, args, context, secrets: {}, ignoreFile: undefined, noCache: true };
}

async function requestOf({ name, facts, bases, options }: Making, reference: string, folder: string): Promise<BuildRequest> {
  const { epochSeconds, revision } = facts(name);
  const created = new Date(epochSeconds * 1000).toISOString();
  const common = { tag: reference, epochSeconds, ...(options.noCache === true ? { noCache: true } : {}) };
  const images = join(repositoryRoot, 'deploy/images');
  if (isProgramImage(name)) {
    return {
      ...common,
      dockerfile: join(images, 'Dockerfile'),
      ignoreFile: join(images, 'Dockerfile.dockerignore'),
      context: repositoryRoot,
      secrets: buildSecrets(),
      args: { BUILDER: bases.builder, RUNTIME: bases.runtime, SERVICE: name, EPOCHS: programImages.map((each) => `${each}=${facts(each).epochSeconds}`).join(','), REVISION: revision, CREATED: created },
    };
  }
  return {
    ...common,
    // As above: what is taken from a former build's cache has that one's times. They are built when they change, which is seldom.
    noCache: true,
    dockerfile: join(images, name, 'Dockerfile'),
    context: join(images, name),
    args: { BASE: bases.debian, REVISION: revision, CREATED: created },
    ...(bases.local ? { volumes: aptVolumes(folder) } : {}),
    ...(name === 'kafka' ? { contexts: { jars: await locateKafkaJars() } } : {}),
  };
}

/** Archives, names and layers of sets that are no longer kept. */
async function clearAway(engine: Engine, bases: Bases, quiet: CommandOptions): Promise<void> {
  const old = staleTags(TAGS_KEPT);
  const stale = old.flatMap((tag) => recordsOf(tag).map(({ image }) => image));
  for (const tag of old) removeTag(tag);
  const kept = new Set(tagsInUse().flatMap((tag) => recordsOf(tag).map(({ inputs }) => inputs.slice(0, 24))));
  const present = await engine.references(quiet);
  const unused = present.filter((each) => {
    const inputs = /:(?:15-)?inputs-([0-9a-f]{24})$/.exec(each)?.[1];
    return inputs !== undefined && !kept.has(inputs);
  });
  // Last month's bases, where they are made here: what was built on them keeps its layers.
  const bygone = present.filter((each) => bases.local && each.startsWith('localhost/settlement-base-') && ![bases.runtime, bases.debian, bases.builder].includes(each));
  if (bases.local) forgetOtherBases(bases);
  await engine.remove([...stale.filter((each) => present.includes(each)), ...unused, ...bygone], quiet);
  // Also what a build left that was killed: nobody else builds now.
  await engine.removeRemains();
  await engine.prune(quiet);
}

import { join } from 'node:path';
import { runProgram } from '@settlement/cluster/command';
import { recordsOf } from '@settlement/cluster/images/cache';
import { imageNames } from '@settlement/cluster/images/catalogue';
import type { LocalCluster } from '@settlement/cluster/local-cluster';
import { repositoryRoot } from '@settlement/config/repository-root';
import { OperationalError } from '@settlement/kernel/errors';
import { z } from 'zod';

const summary = z.array(z.object({ image: z.string(), digest: z.string(), tar: z.string(), bytes: z.number() })).min(1);

/** All images, from empty caches and on a busy machine; a warm cache answers in seconds. */
const BUILD_TIMEOUT_MS = 45 * 60_000;

export interface BuiltImages {
  readonly tag: string;
  readonly archives: readonly string[];
}

/** Those of this clone's sources, built when the cache has none; or those of that tag, which must be in the cache. */
export async function builtImages(tag: string | undefined, say: (text: string) => void, signal?: AbortSignal): Promise<BuiltImages> {
  if (tag !== undefined) return cachedImages(tag);
  const text = await runProgram(process.execPath, [join(repositoryRoot, 'tools/run.mjs'), 'images', '--json'], {
    timeoutMs: BUILD_TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
    onLine: (line) => {
      // The document itself, on standard output, is not for people.
      if (!/^[\s[\]{}"]/.test(line)) say(`  ${line}`);
    },
  });
  const images = summary.parse(JSON.parse(text));
  const gateway = images.find(({ image }) => image.includes('/settlement-gateway:'));
  if (gateway === undefined) throw new OperationalError('NO_IMAGES', 'the build made no image of the gateway', 'done');
  return { tag: gateway.image.split(':').at(-1) ?? '', archives: images.map(({ tar }) => tar) };
}

function cachedImages(tag: string): BuiltImages {
  const records = recordsOf(tag);
  if (records.length < imageNames.length) {
    throw new OperationalError('NO_IMAGES', `${records.length} of ${imageNames.length} images with tag ${tag} are in the cache; \`npm run images -- --tag ${tag}\` builds them`, 'not-done');
  }
  return { tag, archives: records.map(({ tar }) => tar) };
}

/** Builds what is absent and puts it on every node. Answers the tag. */
export async function imagesOnNodes(local: LocalCluster, tag: string | undefined, say: (text: string) => void, signal?: AbortSignal): Promise<string> {
  say('building images, or finding them in the cache');
  const built = await builtImages(tag, say, signal);
  say(`putting ${built.archives.length} images with tag ${built.tag} on the nodes`);
  await local.loadImages(built.archives, signal === undefined ? {} : { signal });
  return built.tag;
}

import { readRecord } from '@settlement/cluster/images/cache';
import { referenceOf, type ImageName } from '@settlement/cluster/images/catalogue';
import type { Cluster } from './cluster-access';
import { namespaces } from './installation';

export interface FoundationTags {
  /** Of Postgres and Kafka. */
  readonly data: string;
  readonly chain: string;
}

/**
 * The tags that Postgres, Kafka and the chain are to have when the services get `tag`: the one that they run with where it is the
 * same image by another name. Every commit gives all images a new tag, and a database and a broker that are started again for a
 * name alone cost a developer a minute each time.
 */
export async function foundationTags(cluster: Cluster, tag: string): Promise<FoundationTags> {
  const lists = await Promise.all(Object.values(namespaces).map((namespace) => cluster.get<PodList>(`/api/v1/namespaces/${namespace}/pods`)));
  const running = lists.flatMap(({ items }) => items.flatMap(({ spec }) => spec.containers.map(({ image }) => image)));
  return { data: unchangedTag(running, ['postgresql', 'kafka'], tag, cachedDigest), chain: unchangedTag(running, ['chain'], tag, cachedDigest) };
}

/** The one tag under which each of `names` runs if all of them are, by their digests, what they are under `tag`; else `tag`. */
export function unchangedTag(running: readonly string[], names: readonly ImageName[], tag: string, digestOf: (tag: string, name: ImageName) => string | undefined): string {
  const tags = new Set(names.flatMap((name) => running.filter((image) => image.startsWith(referenceOf(name, ''))).map((image) => image.slice(referenceOf(name, '').length))));
  const [present] = tags;
  if (present === undefined || tags.size !== 1) return tag;
  const same = names.every((name) => {
    const digest = digestOf(present, name);
    return digest !== undefined && digest === digestOf(tag, name);
  });
  return same ? present : tag;
}

const cachedDigest = (tag: string, name: ImageName): string | undefined => readRecord(tag, name)?.digest;

interface PodList {
  readonly items: readonly { readonly spec: { readonly containers: readonly { readonly image: string }[] } }[];
}

import type { Cluster } from './cluster-access';

/** One of helm's records, which are Secrets with these labels. */
export interface ReleaseRecord {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
}

/** The records of operations that helm began and did not end, as their labels say. */
export function unfinished(records: readonly ReleaseRecord[]): readonly string[] {
  return records.filter(({ metadata }) => metadata.labels?.['status']?.startsWith('pending-') === true).map(({ metadata }) => metadata.name);
}

/** All that helm remembers of a release, in no order. */
export async function releaseRecords(cluster: Cluster, namespace: string, release: string): Promise<readonly ReleaseRecord[]> {
  const { items } = await cluster.get<{ items: readonly ReleaseRecord[] }>(`/api/v1/namespaces/${namespace}/secrets?labelSelector=${encodeURIComponent(`owner=helm,name=${release}`)}`);
  return items;
}

/**
 * Lets the next `helm upgrade --install` take up what an interrupted one has left. Helm refuses a release with an operation under
 * way, and takes one whose process is gone for just that. Without the record it goes on from the last release that was deployed, or
 * installs, and adopts the objects that are there, since they carry the release's name.
 *
 * Only for who knows that no other helm works at this release: two at once would undo each other's work.
 */
export async function takeUpInterrupted(cluster: Cluster, namespace: string, release: string, say: (text: string) => void): Promise<void> {
  const pending = unfinished(await releaseRecords(cluster, namespace, release));
  if (pending.length === 0) return;
  say(`an earlier deployment of ${release} was interrupted; taking it up`);
  await cluster.kubectl(['delete', 'secret', '-n', namespace, ...pending]);
}

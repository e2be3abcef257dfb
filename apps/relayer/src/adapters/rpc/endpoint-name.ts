/**
 * What an endpoint is called in logs, metrics and health texts: its place in the configuration and its host. Path, query and
 * user info are where hosted endpoints carry their keys, so none of them is in it.
 */
export function endpointName(kind: 'rpc' | 'private', index: number, url: string): string {
  const { host } = new URL(url);
  return `${kind} ${index + 1} (${host})`;
}

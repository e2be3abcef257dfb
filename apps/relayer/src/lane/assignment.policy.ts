/**
 * How many of the packs that wait a lane takes: those with the least in flight are served first, one pack each in turn, as if
 * all lanes that are ready chose at once. 0 leaves everything to others.
 */
export function packsOf(laneId: string, ready: ReadonlyMap<string, number>, packs: number): number {
  const loads = [...ready].map(([id, inFlight]) => ({ id, inFlight })).sort((a, b) => a.inFlight - b.inFlight || (a.id < b.id ? -1 : 1));
  if (loads.length === 0) return packs;
  let mine = 0;
  for (let pack = 0; pack < packs; pack += 1) {
    let [least] = loads;
    for (const candidate of loads) if (least === undefined || candidate.inFlight < least.inFlight) least = candidate;
    if (least === undefined) break;
    least.inFlight += 1;
    if (least.id === laneId) mine += 1;
  }
  return mine;
}

/**
 * Which process an intent belongs to, the same for everybody who knows the same processes: rendezvous hashing, so that a process
 * that comes or goes moves only its own share.
 */
export function affinityOf(intentId: string, owners: readonly string[]): string | undefined {
  let best: { readonly owner: string; readonly weight: number } | undefined;
  for (const owner of owners) {
    const weight = hash32(`${owner}|${intentId}`);
    if (best === undefined || weight > best.weight || (weight === best.weight && owner < best.owner)) best = { owner, weight };
  }
  return best?.owner;
}

/** Of `lanes` lanes a process holds so many at most when so many processes share them: the others find enough. */
export function fairShare(lanes: number, processes: number): number {
  return Math.ceil(lanes / Math.max(1, processes));
}

/** FNV-1a with MurmurHash3's last mixing, which spreads what differs only in its end. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

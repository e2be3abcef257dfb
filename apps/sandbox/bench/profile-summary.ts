import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string }; readonly children?: readonly number[] }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Which package or part of ours a frame belongs to. */
function ownerOf(url: string, functionName: string): string {
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (url === '') return functionName === '(program)' || functionName === '(idle)' ? functionName : 'V8 and native code';
  if (url.startsWith('node:')) return url.split('/')[0] ?? url;
  const inPackage = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  if (inPackage !== null && !url.includes('.cache/settlement')) return inPackage[1] ?? url;
  return 'our own code';
}

/** Self time by owner, as shares of what was not idle, largest first. */
export function summarise(file: string): { readonly busySeconds: number; readonly owners: readonly (readonly [string, number])[] } {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
  const owner = new Map(profile.nodes.map((node) => [node.id, ownerOf(node.callFrame.url, node.callFrame.functionName)]));
  const micros = new Map<string, number>();
  profile.samples.forEach((id, index) => {
    const name = owner.get(id) ?? '(unknown)';
    micros.set(name, (micros.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
  micros.delete('(idle)');
  const busy = [...micros.values()].reduce((a, b) => a + b, 0);
  return { busySeconds: busy / 1e6, owners: [...micros].map(([name, us]): readonly [string, number] => [name, us / busy]).sort((a, b) => b[1] - a[1]) };
}

export function profileReport(folder: string, services: readonly string[]): string {
  const lines = services.flatMap((service) => {
    const file = join(folder, `${service}.cpuprofile`);
    if (!existsSync(file)) return [];
    const { busySeconds, owners } = summarise(file);
    return [`${service}: ${busySeconds.toFixed(1)} s busy; ${owners.slice(0, 8).map(([name, share]) => `${name} ${(share * 100).toFixed(0)} %`).join(', ')}`];
  });
  return `${lines.join('\n')}\n`;
}

import { describe, expect, it, vi } from 'vitest';
import { whyMissing } from '@settlement/cluster/platform-tools';
import { renderRelease, servingOverlays, type Capabilities } from './helm';
import { describeViolations, identify, isObject, kindOf, type Json, type JsonObject, type Policy, type Release, type Step } from './manifests';

// Helm renders in a second on a quiet machine, and in a minute on one that is busy with clusters.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

export const CAPABILITIES: readonly Capabilities[] = [
  { monitoring: true, keda: true },
  { monitoring: false, keda: false },
];

/** A change to a rendered release that breaks the rule, and what the rule must say about it. */
export interface Planted {
  readonly what: string;
  /** Which release it is planted in; the first that fits. Every release unless given. */
  readonly where?: (release: Release) => boolean;
  readonly plant: (release: EditableRelease) => void;
  readonly found: RegExp;
}

type Editable = Record<string, Json>;

/** A deep copy of a release whose manifests a test may change. */
export class EditableRelease {
  readonly manifests: Editable[];

  constructor(release: Release) {
    this.manifests = structuredClone(release.manifests) as Editable[];
  }

  /** The manifest `Deployment/settlement-gateway`, or the first of a kind. Throws where there is none, so that no plant is a no-op. */
  find(identity: string): Editable {
    const found = this.manifests.find((manifest) => identify(manifest) === identity || kindOf(manifest) === identity);
    if (found === undefined) throw new Error(`${identity} is not rendered: ${this.manifests.map(identify).join(', ')}`);
    return found;
  }

  /** Sets (or, given undefined, removes) what stands at a path, making objects on the way. */
  set(identity: string, path: readonly Step[], value: Json | undefined): void {
    let node: Json = this.find(identity);
    for (const [index, step] of path.slice(0, -1).entries()) {
      const next: Json | undefined = child(node, step) ?? (typeof path[index + 1] === 'number' ? [] : {});
      put(node, step, next);
      node = next;
    }
    put(node, path.at(-1) ?? '', value);
  }

  /** Appends to a list, which is made where it is missing. */
  push(identity: string, path: readonly Step[], value: Json): void {
    const list = path.reduce<Json | undefined>((node, step) => (node === undefined ? undefined : child(node, step)), this.find(identity));
    this.set(identity, path, [...(Array.isArray(list) ? (list as Json[]) : []), value]);
  }

  add(manifest: JsonObject): void {
    this.manifests.push(structuredClone(manifest) as Editable);
  }

  remove(identity: string): void {
    this.manifests.splice(this.manifests.indexOf(this.find(identity)), 1);
  }
}

function child(node: Json, step: Step): Json | undefined {
  if (Array.isArray(node) && typeof step === 'number') return (node as readonly Json[])[step];
  return isObject(node) && typeof step === 'string' ? node[step] : undefined;
}

function put(node: Json, step: Step, value: Json | undefined): void {
  if (Array.isArray(node) && typeof step === 'number' && value !== undefined) (node as Json[])[step] = value;
  else if (Array.isArray(node) && typeof step === 'number') (node as Json[]).splice(step, 1);
  else if (isObject(node) && typeof step === 'string' && value !== undefined) (node as Editable)[step] = value;
  else if (isObject(node) && typeof step === 'string') Reflect.deleteProperty(node, step);
  else throw new Error(`there is nothing at ${String(step)} to change`);
}

/** A machine without helm and without a registry says so loudly, and its tests count as skipped. */
export const helmMissing = await whyMissing('helm');
if (helmMissing !== undefined) process.stderr.write(`\n!!! CHART CHECKS NOT RUN: ${helmMissing}\n\n`);

let all: Promise<Release[]> | undefined;

/** Every overlay of a serving region with and without the optional operators. */
export function releases(): Promise<Release[]> {
  all ??= Promise.all(servingOverlays().flatMap((overlay) => CAPABILITIES.map((capabilities) => renderRelease(overlay, capabilities))));
  return all;
}

/** The chart keeps the rule in every overlay, and each planted violation is found where it was planted. */
export function ruleSuite(policy: Policy, planted: readonly Planted[]): void {
  describe.skipIf(helmMissing !== undefined)(policy.rule, () => {
    it('holds in every overlay of a serving region', async () => {
      const rendered = await releases();
      expect(rendered.length, 'the chart has environments and regions').toBeGreaterThan(0);
      const broken = rendered.flatMap((release) => {
        const violations = policy.check(release);
        return violations.length === 0 ? [] : [`${release.title}:\n${describeViolations(violations)}`];
      });
      expect(broken.join('\n\n')).toBe('');
    });

    it.each(planted.map((each) => [each.what, each] as const))('is broken by %s', async (_what, { where, plant, found }) => {
      const release = (await releases()).find((each) => where === undefined || where(each));
      if (release === undefined) throw new Error('no overlay is of the sort in which this is planted');
      const before = new Set(policy.check(release).map((each) => JSON.stringify(each)));
      const changed = new EditableRelease(release);
      plant(changed);
      const violations = policy.check({ ...release, manifests: changed.manifests }).filter((each) => !before.has(JSON.stringify(each)));
      expect(describeViolations(violations)).toMatch(found);
    });
  });
}


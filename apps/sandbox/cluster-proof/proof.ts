import type { Cluster } from '../src/cluster/cluster-access';
import type { DemoTarget } from '../src/demo-target';
import type { Observer } from '../src/observer';
import { seconds } from './pauses';
import type { SteadyLoad } from './steady-load';
import { underLoad, type LoadReport } from './under-load';

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface ScenarioResult {
  readonly name: string;
  readonly hypothesis: string;
  /** How it was seen that the fault really happened. */
  readonly faults: readonly string[];
  readonly checks: readonly CheckResult[];
  readonly figures: readonly (readonly [string, string])[];
  readonly tookMs: number;
}

/** What must hold on the cluster, and how it is put to the test. */
export interface Scenario {
  /** For `--only`. */
  readonly name: string;
  readonly hypothesis: string;
  /** Only with `--full`: it needs operators that the default run does not start. */
  readonly full?: true;
  run(proof: Proof): Promise<void>;
}

export interface UpgradeOptions {
  /** Of the services' images; Postgres and Kafka keep theirs. */
  readonly tag?: string;
  readonly timeoutMs?: number;
  readonly rollBack?: boolean;
  /** `path=JSON`, last and so strongest. */
  readonly set?: readonly string[];
}

/**
 * Little, so that a cluster of three nodes with thirty processes fits on two cores with room for what a disturbance adds: a payment
 * alone costs such a cluster 0.4 seconds of processor time (500 in 107 s on both cores), as nothing is batched at this rate.
 */
const RATE_PER_SECOND = 2;

/** What a scenario works with, and where it puts down what it found. */
export class Proof {
  readonly faults: string[] = [];
  readonly checks: CheckResult[] = [];
  readonly figures: [string, string][] = [];

  constructor(
    readonly cluster: Cluster,
    readonly target: DemoTarget,
    readonly observer: Observer,
    /** Of the images that were installed. */
    readonly tag: string,
    /** `helm upgrade` of the services with what was installed and these changes. */
    readonly upgrade: (options: UpgradeOptions) => Promise<void>,
    readonly abort: AbortSignal,
    readonly say: (text: string) => void,
  ) {}

  check(name: string, ok: boolean, detail: string): void {
    this.checks.push({ name, ok, detail });
    this.say(`    ${ok ? '✓' : '✗'} ${name}: ${detail}`);
  }

  figure(name: string, value: string): void {
    this.figures.push([name, value]);
    this.say(`      ${name}: ${value}`);
  }

  fault(evidence: string): void {
    this.faults.push(evidence);
    this.say(`    · ${evidence}`);
  }

  /** Steady traffic around a disturbance. Checks the money; and, unless failures belong to the fault, that no request failed. */
  async underLoad(options: { readonly label: string; readonly perSecond?: number; readonly failures: 'none' | 'allowed' }, disturb: (load: SteadyLoad) => Promise<void>): Promise<LoadReport> {
    const report = await underLoad(this.target, this.observer, { label: options.label, perSecond: options.perSecond ?? RATE_PER_SECOND }, this.abort, disturb);
    const { failed, requests, pausesMs, latencyMs, money } = report;
    const reasons = [...new Set(failed.map(({ failure }) => failure))].slice(0, 4).join('; ');
    if (options.failures === 'none') this.check(`${options.label}: no failed request`, failed.length === 0, failed.length === 0 ? `${requests} requests, each sent once` : `${failed.length} of ${requests} failed: ${reasons}`);
    else this.figure(`${options.label}: failed requests`, `${failed.length} of ${requests}${failed.length === 0 ? '' : ` (${reasons})`}`);
    this.check(`${options.label}: nothing lost, nothing doubled`, money.ok, money.detail);
    this.figure(`${options.label}: longest pause of accepting / settling / paying out`, `${seconds(pausesMs.accepting)} / ${seconds(pausesMs.settling)} / ${seconds(pausesMs.payingOut)}`);
    this.figure(`${options.label}: answer times p50 / p99`, `${latencyMs.p50} ms / ${latencyMs.p99} ms`);
    return report;
  }
}

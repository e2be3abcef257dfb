import { runProgram } from './command';
import { clusterEnvironment, type CallOptions } from './kubectl';
import { platformTool } from './platform-tools';

export interface Release {
  readonly name: string;
  readonly chart: string;
  readonly namespace: string;
  readonly valuesFiles?: readonly string[];
  /** `--set` expressions, for what only the moment knows: an image's tag. */
  readonly set?: readonly string[];
  /** Roll back by itself when it does not become ready in time. */
  readonly atomic?: boolean;
  /** Wait for all resources to be ready. Default: true. */
  readonly wait?: boolean;
  readonly timeoutMs: number;
}

/** The arguments of an idempotent installation. */
export function upgradeArguments(release: Release): readonly string[] {
  return [
    ...['upgrade', '--install', release.name, release.chart, '--namespace', release.namespace, '--create-namespace'],
    ...(release.valuesFiles ?? []).flatMap((file) => ['--values', file]),
    ...(release.set ?? []).flatMap((expression) => ['--set', expression]),
    ...((release.wait ?? true) ? ['--wait'] : []),
    // helm 4's name for what 3 called --atomic.
    ...(release.atomic === true ? ['--rollback-on-failure'] : []),
    ...['--timeout', `${Math.ceil(release.timeoutMs / 1_000)}s`],
  ];
}

/** helm on one cluster. Every call throws what `runProgram` throws. */
export class Helm {
  private constructor(
    private readonly program: string,
    readonly kubeconfig: string,
  ) {}

  static async on(kubeconfig: string): Promise<Helm> {
    return new Helm(await platformTool('helm'), kubeconfig);
  }

  /** Standard output of `helm ARGS`. */
  run(args: readonly string[], options: CallOptions = {}): Promise<string> {
    return runProgram(this.program, args, { ...options, environment: clusterEnvironment(this.kubeconfig, this.program) });
  }

  /** Installs or upgrades; when it fails the release may be half there, as helm's own status says. */
  async upgrade(release: Release, options: CallOptions = {}): Promise<void> {
    // helm gives up by itself first, with the reason.
    await this.run(upgradeArguments(release), { timeoutMs: release.timeoutMs + 30_000, ...options });
  }

  async uninstall(name: string, namespace: string, timeoutMs = 120_000): Promise<void> {
    await this.run(['uninstall', name, '--namespace', namespace, '--ignore-not-found', '--wait', '--timeout', `${Math.ceil(timeoutMs / 1_000)}s`], { timeoutMs: timeoutMs + 30_000 });
  }
}

import { dirname } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { runProgram, type CommandOptions } from './command';
import { platformTool } from './platform-tools';

export type CallOptions = Omit<CommandOptions, 'environment'>;

/** kubectl on one cluster. Every call throws what `runProgram` throws. */
export class Kubectl {
  private constructor(
    private readonly program: string,
    readonly kubeconfig: string,
  ) {}

  static async on(kubeconfig: string): Promise<Kubectl> {
    return new Kubectl(await platformTool('kubectl'), kubeconfig);
  }

  /** Standard output of `kubectl ARGS`. */
  run(args: readonly string[], options: CallOptions = {}): Promise<string> {
    return runProgram(this.program, args, { ...options, environment: clusterEnvironment(this.kubeconfig, this.program) });
  }

  /** The JSON of `kubectl get ARGS`; `parse` turns it into what the caller asked for or throws. */
  async get<T>(args: readonly string[], parse: (json: unknown) => T): Promise<T> {
    const text = await this.run(['get', ...args, '-o', 'json']);
    try {
      return parse(JSON.parse(text));
    } catch (cause) {
      throw new OperationalError('KUBECTL_ANSWER_UNREADABLE', `kubectl get ${args.join(' ')}: ${cause instanceof Error ? cause.message : String(cause)}`, 'done', { cause });
    }
  }

  /** Manifests (YAML or JSON, several documents) on the server's side, as large definitions need it. */
  async apply(manifests: string, options: CallOptions & { readonly namespace?: string; readonly dryRun?: boolean } = {}): Promise<void> {
    const { namespace, dryRun = false, ...call } = options;
    await this.run(['apply', '--server-side', '--force-conflicts', ...(namespace === undefined ? [] : ['-n', namespace]), ...(dryRun ? ['--dry-run=server'] : []), '-f', '-'], { ...call, input: manifests });
  }

  /** Until the condition holds for all of what is named (`pod/x`, `-l a=b pods`). Throws `CONDITION_NOT_MET` (done: nothing was changed) when time is up. */
  async waitFor(condition: string, args: readonly string[], timeoutMs: number): Promise<void> {
    try {
      await this.run(['wait', `--for=${condition}`, ...args, `--timeout=${Math.ceil(timeoutMs / 1_000)}s`], { timeoutMs: timeoutMs + 5_000 });
    } catch (cause) {
      if (cause instanceof OperationalError && cause.code !== 'PROGRAM_NOT_STARTED') throw new OperationalError('CONDITION_NOT_MET', cause.message, 'done', { cause });
      throw cause;
    }
  }

  /** Until a Deployment or StatefulSet has all its new pods ready. */
  async rolledOut(namespace: string, resource: string, timeoutMs: number): Promise<void> {
    await this.run(['-n', namespace, 'rollout', 'status', resource, `--timeout=${Math.ceil(timeoutMs / 1_000)}s`], { timeoutMs: timeoutMs + 5_000 });
  }
}

/** helm starts kubectl for some of its work and plugins: both are first on the path. */
export function clusterEnvironment(kubeconfig: string, program: string): NodeJS.ProcessEnv {
  return { ...process.env, KUBECONFIG: kubeconfig, PATH: `${dirname(program)}:${process.env['PATH'] ?? ''}` };
}

import { spawn } from 'node:child_process';
import { OperationalError } from '@settlement/kernel/errors';

export interface CommandOptions {
  readonly environment?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Ends the command (SIGTERM to its whole group, SIGKILL after 5 s); the call then throws `CANCELLED`. */
  readonly signal?: AbortSignal;
  /** Each line of both outputs as it comes. */
  readonly onLine?: (line: string) => void;
  readonly timeoutMs?: number;
}

export interface CommandResult {
  /** -1 when the program is not there or a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const KILL_AFTER_MS = 5_000;
const OUTPUT_CHARACTERS_MAX = 4_000_000;

/** Runs a program to its end and answers what it said, whatever its exit code is. */
export async function attempt(program: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  options.signal?.throwIfAborted();
  // A group of its own: Ctrl-C reaches this process alone, which then ends the command and what that has started.
  const child = spawn(program, args, { cwd: options.cwd, env: options.environment ?? process.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const outputs = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    let rest = '';
    child[name].setEncoding('utf8').on('data', (text: string) => {
      outputs[name] = (outputs[name] + text).slice(-OUTPUT_CHARACTERS_MAX);
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) options.onLine?.(line);
    });
  }
  const endGroup = (how: NodeJS.Signals): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, how);
    } catch (error) {
      // ESRCH: it has just ended by itself.
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  };
  let killing: NodeJS.Timeout | undefined;
  const end = (): void => {
    endGroup('SIGTERM');
    killing = setTimeout(() => { endGroup('SIGKILL'); }, KILL_AFTER_MS);
  };
  const late = options.timeoutMs === undefined ? undefined : setTimeout(end, options.timeoutMs);
  options.signal?.addEventListener('abort', end, { once: true });
  try {
    const code = await new Promise<number>((resolve) => {
      child.once('error', (error) => {
        outputs.stderr += error.message;
        resolve(-1);
      });
      child.once('close', (exitCode) => { resolve(exitCode ?? -1); });
    });
    if (options.signal?.aborted === true) throw new OperationalError('CANCELLED', `${program} ${args[0] ?? ''} was stopped`, 'not-done');
    return { code, ...outputs };
  } finally {
    clearTimeout(late);
    clearTimeout(killing);
    options.signal?.removeEventListener('abort', end);
  }
}

/** Runs a program that must succeed and answers its standard output. Throws `COMMAND_FAILED` with the last lines that it wrote. */
export async function run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(program, args, options);
  if (code === 0) return stdout;
  const said = `${stdout.trimEnd()}\n${stderr.trimEnd()}`.trim().split('\n').slice(-15).join('\n  ');
  throw new OperationalError('COMMAND_FAILED', `${program} ${args.slice(0, 3).join(' ')} … ended with ${code}:\n  ${said}`, 'unknown');
}

import { spawn } from 'node:child_process';
import { OperationalError } from '@settlement/kernel/errors';

export interface CommandOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** Given on standard input, which is closed after it. */
  readonly input?: string;
  /** Ends the program and what it started (SIGTERM to its group); the call then throws `CANCELLED`. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** How long a program may take to clean up after SIGTERM before SIGKILL. */
  readonly killAfterMs?: number;
  /** Each line of both outputs as it comes, for what takes long. */
  readonly onLine?: (line: string) => void;
}

const TIMEOUT_MS = 120_000;
const KILL_AFTER_MS = 5_000;
const OUTPUT_CHARACTERS_MAX = 16_000_000;

/**
 * Runs a program to its end and answers its standard output.
 *
 * Throws `OperationalError`: `PROGRAM_NOT_STARTED` (not-done), `COMMAND_TIMED_OUT`, `CANCELLED` and `COMMAND_FAILED` (all
 * unknown: it may have done part of its work), the last with what the program said.
 */
export async function runProgram(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { timeoutMs = TIMEOUT_MS, killAfterMs = KILL_AFTER_MS, signal } = options;
  const title = [program.split('/').at(-1), ...args].join(' ').slice(0, 200);
  if (signal?.aborted === true) throw new OperationalError('CANCELLED', `${title} was not begun`, 'not-done');
  // A group of its own: Ctrl-C reaches this process alone, which then ends the program and its children in order.
  const child = spawn(program, args, { env: options.environment ?? process.env, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    const lines = lineSplitter(options.onLine);
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] = (output[name] + text).slice(-OUTPUT_CHARACTERS_MAX);
      lines(text);
    });
  }
  let inputRefused: Error | undefined;
  // A program that ends without reading its input closes the pipe; its exit code tells more than this does.
  child.stdin.on('error', (error) => { inputRefused = error; });
  child.stdin.end(options.input ?? '');

  let reason: 'COMMAND_TIMED_OUT' | 'CANCELLED' | undefined;
  let killing: NodeJS.Timeout | undefined;
  const end = (why: typeof reason): void => {
    reason ??= why;
    endGroup(child.pid, 'SIGTERM');
    killing ??= setTimeout(() => { endGroup(child.pid, 'SIGKILL'); }, killAfterMs);
  };
  const cancel = (): void => { end('CANCELLED'); };
  const late = setTimeout(() => { end('COMMAND_TIMED_OUT'); }, timeoutMs);
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    const { code, how } = await new Promise<{ code: number | null; how: NodeJS.Signals | null }>((resolve, reject) => {
      child.once('error', (cause) => { reject(new OperationalError('PROGRAM_NOT_STARTED', `${program} does not start: ${cause.message}`, 'not-done', { cause })); });
      child.once('close', (exitCode, exitSignal) => { resolve({ code: exitCode, how: exitSignal }); });
    });
    if (reason === 'CANCELLED') throw new OperationalError(reason, `${title} was stopped`, 'unknown');
    if (reason === 'COMMAND_TIMED_OUT') throw new OperationalError(reason, `${title} took longer than ${timeoutMs / 1_000} s\n${said(output)}`.trim(), 'unknown');
    if (code === 0) return output.stdout;
    throw new OperationalError('COMMAND_FAILED', `${title}: ${how ?? `exit code ${code ?? '?'}`}\n${said(output)}`.trim(), 'unknown', inputRefused === undefined ? undefined : { cause: inputRefused });
  } finally {
    clearTimeout(late);
    clearTimeout(killing);
    signal?.removeEventListener('abort', cancel);
  }
}

const said = ({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): string => (stderr.trim() || stdout.trim()).slice(-4_000);

function endGroup(pid: number | undefined, how: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, how);
  } catch (error) {
    // ESRCH: it has just ended by itself.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function lineSplitter(onLine: ((line: string) => void) | undefined): (text: string) => void {
  if (onLine === undefined) return () => {};
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') onLine(line);
  };
}

import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { systemClock } from '@settlement/config/system-ports';
import { OperationalError } from '@settlement/kernel/errors';
import { killedWithParent } from '@settlement/local-stack/parent-death';

export type ServiceName = 'gateway' | 'relayer' | 'paymaster' | 'batch-settlement' | 'compliance-screening';

export const serviceNames: readonly ServiceName[] = ['compliance-screening', 'paymaster', 'relayer', 'batch-settlement', 'gateway'];

export function isServiceName(text: string): text is ServiceName {
  return (serviceNames as readonly string[]).includes(text);
}

export interface ServiceLaunch {
  readonly name: ServiceName;
  /** The bundled program. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly opsPort: number;
  readonly logFile: string;
  readonly nodeArguments?: readonly string[];
}

/** One service as a process of its own: started, watched, killed and started again. */
export class ServiceProcess {
  private child: ChildProcess | undefined;
  private log: WriteStream | undefined;
  private expectedToRun = false;
  /** Called when the process ends although nobody asked it to. */
  onUnexpectedExit: (name: ServiceName, code: number | null, signal: NodeJS.Signals | null) => void = () => undefined;

  constructor(private readonly launch: ServiceLaunch) {}

  get name(): ServiceName {
    return this.launch.name;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  get opsUrl(): string {
    return `http://127.0.0.1:${this.launch.opsPort}`;
  }

  get logFile(): string {
    return this.launch.logFile;
  }

  /** `environment` is added for this run; wins. */
  start(environment: Readonly<Record<string, string>> = {}): void {
    this.expectedToRun = true;
    this.log = createWriteStream(this.launch.logFile, { flags: 'a' });
    const command = [process.execPath, '--enable-source-maps', '--disable-warning=TimeoutNegativeWarning', ...(this.launch.nodeArguments ?? []), this.launch.program];
    // A service must not outlive whoever started it, even when that one is killed with SIGKILL.
    const [file = process.execPath, ...rest] = [...killedWithParent(), ...command];
    const child = spawn(file, rest, {
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', NODE_ENV: 'production', ...this.launch.environment, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C in the terminal reaches the sandbox alone, which then stops the services in order.
      detached: true,
    });
    child.stdout?.pipe(this.log, { end: false });
    child.stderr?.pipe(this.log, { end: false });
    child.once('exit', (code, signal) => {
      if (this.expectedToRun && this.child === child) this.onUnexpectedExit(this.launch.name, code, signal);
    });
    this.child = child;
  }

  /** Resolves once `/health/ready` is 200. Throws when the process ends first or time runs out, with the reason it gave. */
  async ready(timeoutMs: number): Promise<void> {
    const deadline = systemClock.monotonicMs() + timeoutMs;
    let last = 'no answer yet';
    while (systemClock.monotonicMs() < deadline) {
      if (this.child === undefined || this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new OperationalError('SERVICE_EXITED', `${this.launch.name} ended before it was ready; see ${this.launch.logFile}`, 'not-done');
      }
      try {
        const response = await fetch(`${this.opsUrl}/health/ready`, { signal: AbortSignal.timeout(2_500) });
        if (response.ok) return;
        last = await response.text();
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
      }
      await systemClock.sleep(50);
    }
    throw new OperationalError('SERVICE_NOT_READY', `${this.launch.name} was not ready within ${timeoutMs} ms: ${last}`, 'not-done');
  }

  /** SIGKILL: no drain, no goodbye. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** SIGTERM, then SIGKILL when the drain takes longer than `graceMs`. */
  async stop(graceMs = 12_000): Promise<void> {
    const child = this.child;
    const timer = setTimeout(() => child?.kill('SIGKILL'), graceMs);
    await this.end('SIGTERM');
    clearTimeout(timer);
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    this.expectedToRun = false;
    const child = this.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await ended;
    this.log?.end();
  }
}

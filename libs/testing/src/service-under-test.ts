import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@settlement/local-stack/free-port';

/** A service as the process that it will be: bundled once, started with an environment, killed and started again. */
export class ServiceUnderTest {
  private child: ChildProcess | undefined;
  private exited: Promise<number | NodeJS.Signals | null> = Promise.resolve(null);
  /** Everything that it wrote, standard output and error, over all its starts. */
  output = '';
  readonly opsPort: number;
  readonly grpcPort: number;

  private constructor(
    private readonly program: string,
    private readonly environment: Readonly<Record<string, string>>,
    ports: readonly [number, number],
  ) {
    [this.opsPort, this.grpcPort] = ports;
  }

  /** `app` is a folder below apps/. Ports are chosen; `environment` gives the rest. */
  static async prepare(app: string, environment: Readonly<Record<string, string>>): Promise<ServiceUnderTest> {
    const program = join(process.cwd(), 'node_modules/.cache/settlement/bundles', `under-test-${app}-${process.pid}.mjs`);
    const bundled = spawnSync(process.execPath, [resolve('tools/bundle.mjs'), resolve('apps', app, 'src/main.ts'), program], { encoding: 'utf8' });
    if (bundled.status !== 0) throw new Error(`could not bundle ${app}: ${bundled.stderr}`);
    return new ServiceUnderTest(program, environment, [await freePort(), await freePort()]);
  }

  get address(): string {
    return `127.0.0.1:${this.grpcPort}`;
  }

  /** `args` such as `migrate`; none serves. */
  start(extra: Readonly<Record<string, string>> = {}, args: readonly string[] = []): void {
    const environment = { OPS_PORT: String(this.opsPort), GRPC_PORT: String(this.grpcPort), LOG_LEVEL: 'debug', ...this.environment, ...extra };
    const child = spawn(process.execPath, ['--enable-source-maps', this.program, ...args], {
      cwd: process.cwd(),
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? tmpdir(), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const keep = (chunk: Buffer): void => {
      this.output += chunk.toString('utf8');
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    this.exited = new Promise((done) => {
      child.once('exit', (code, signal) => {
        done(signal ?? code);
      });
    });
    this.child = child;
  }

  /** Exit code or signal. */
  ended(): Promise<number | NodeJS.Signals | null> {
    return this.exited;
  }

  signal(name: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    this.child?.kill(name);
    return this.exited;
  }

  /** A signal that does not end it, such as SIGSTOP. */
  deliver(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  /** Ends it whatever state it is in and removes its bundle; for `afterAll`. */
  async dispose(): Promise<void> {
    if (this.child?.exitCode === null && this.child.signalCode === null) await this.signal('SIGKILL');
    rmSync(this.program, { force: true });
  }

  async health(): Promise<{ readonly status: number; readonly body: string }> {
    const response = await fetch(`http://127.0.0.1:${this.opsPort}/health/ready`);
    return { status: response.status, body: await response.text() };
  }

  /** Status and body of any other path of the ops server. */
  async ops(path: string): Promise<{ readonly status: number; readonly body: string }> {
    const response = await fetch(`http://127.0.0.1:${this.opsPort}${path}`);
    return { status: response.status, body: await response.text() };
  }

  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.opsPort}/metrics`)).text();
  }

  /** Until the readiness answer satisfies `is`; throws with the last one. */
  async until(is: (health: { readonly status: number; readonly body: string }) => boolean, timeoutMs = 60_000): Promise<void> {
    let last = 'no answer';
    for (const end = performance.now() + timeoutMs; performance.now() < end; await sleep(25)) {
      try {
        const health = await this.health();
        if (is(health)) return;
        last = `${health.status} ${health.body}`;
      } catch (error) {
        // Not listening yet.
        last = String(error);
      }
    }
    throw new Error(`the service did not come to the expected state: ${last}\n${this.output.slice(-2_000)}`);
  }

  /** Until it has written `text`. */
  async wrote(text: string, timeoutMs = 20_000): Promise<void> {
    for (const end = performance.now() + timeoutMs; performance.now() < end; await sleep(25)) if (this.output.includes(text)) return;
    throw new Error(`the service did not write ${text}\n${this.output.slice(-2_000)}`);
  }

  ready(): Promise<void> {
    return this.until(({ status }) => status === 200);
  }
}

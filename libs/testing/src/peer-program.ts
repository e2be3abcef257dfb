import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { peerPackages } from './peer-packages';

const FIRST_LINE_TIMEOUT_MS = 60_000;

export interface PeerProgram {
  /** What it printed first, as JSON: a server says where it listens, a client what it got. */
  readonly said: unknown;
  readonly child: ChildProcess;
  /** Everything that it wrote to its standard error so far. */
  complaints(): string;
  stop(): Promise<void>;
}

/**
 * Starts a foreign program of `libs/testing/peers/<peer>` as a process of its own and answers when it has printed its first line.
 * Its environment is what is given, nothing of this process's but the path.
 */
export async function startPeerProgram(peer: string, program: string, environment: Readonly<Record<string, string>>): Promise<PeerProgram> {
  const { programs } = await peerPackages(peer);
  const child = spawn(process.execPath, [join(programs, program)], { cwd: programs, env: { PATH: process.env['PATH'] ?? '', ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-8_000);
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
  };
  const lines = createInterface({ input: child.stdout });
  const first = await new Promise<string | undefined>((resolve) => {
    const timer = setTimeout(() => {
      resolve(undefined);
    }, FIRST_LINE_TIMEOUT_MS);
    const done = (line: string | undefined): void => {
      clearTimeout(timer);
      resolve(line);
    };
    lines.once('line', done);
    lines.once('close', () => {
      done(undefined);
    });
  });
  if (first === undefined) {
    await stop();
    throw new Error(`${peer}/${program} printed nothing: ${complaints}`);
  }
  return { said: JSON.parse(first), child, complaints: () => complaints, stop };
}

import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const stateFile = join(root, '.settlement/sandbox.json');
let sandbox: ChildProcess;

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[]): Promise<Run> {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code, ...output })));
}

/** Resolves with what it printed once it is ready; rejects when it ends first. */
function start(...args: string[]): Promise<string> {
  sandbox = spawn(process.execPath, ['tools/run.mjs', 'start', ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  sandbox.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    sandbox.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (stdout.includes('Ctrl-C stops it')) resolve(stdout);
    });
    sandbox.once('exit', (code) => reject(new Error(`npm start ended with ${code}: ${stderr.slice(-3_000)}`)));
  });
}

function stop(): Promise<number | null> {
  if (sandbox.exitCode !== null) return Promise.resolve(sandbox.exitCode);
  sandbox.removeAllListeners('exit');
  const ended = new Promise<number | null>((resolve) => sandbox.once('exit', (code) => resolve(code)));
  sandbox.kill('SIGINT');
  return ended;
}

beforeAll(async () => {
  await start('--fresh');
}, 120_000);

afterAll(async () => {
  await stop();
}, 60_000);

const lastPayment = (): { id: string; status: string } => JSON.parse(readFileSync(join(root, '.settlement/payment.json'), 'utf8')) as { id: string; status: string };

describe('npm start', () => {
  it('runs the README’s quickstart as it is written, to the money in the merchant’s address', async () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const block = /<!-- quickstart[^>]*-->\n```sh\n([\s\S]*?)\n```/.exec(readme)?.[1];
    expect(block).toBeDefined();
    const { code, stdout, stderr } = await run('bash', ['-euo', 'pipefail', '-c', block ?? 'exit 1']);
    expect(code, stdout + stderr).toBe(0);
    expect(lastPayment().status).toBe('paid_out');
  }, 120_000);

  it('follows a payment with npm run pay', async () => {
    const { code, stdout, stderr } = await run(process.execPath, ['tools/run.mjs', 'pay', '--amount', '1.25']);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/accepted[\s\S]*collected[\s\S]*paid_out/);
  }, 120_000);

  it('refuses an amount with more digits than the token has, with the help', async () => {
    const { code, stderr } = await run(process.execPath, ['tools/run.mjs', 'pay', '--amount', '1.2345678']);
    expect(code).toBe(2);
    expect(stderr).toContain('at most 6 digits');
  });

  it('serves the documentation page and the OpenAPI document', async () => {
    const { api } = JSON.parse(readFileSync(stateFile, 'utf8')) as { api: { docs: string; openapi: string } };
    expect((await fetch(api.docs)).status).toBe(200);
    const document = (await (await fetch(api.openapi)).json()) as { openapi: string; paths: Record<string, unknown> };
    expect(document.openapi).toMatch(/^3\.1/);
    expect(Object.keys(document.paths)).toEqual(expect.arrayContaining(['/v1/payments', '/v1/payments/{id}', '/v1/payments/{id}/authorization', '/v1/refunds']));
  });

  it('verifies every log of the running system', async () => {
    for (const service of ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening']) {
      const { code, stdout, stderr } = await run(process.execPath, ['tools/run.mjs', 'events', 'verify', '--service', service]);
      expect(code, `${service}: ${stdout}${stderr}`).toBe(0);
    }
  }, 60_000);

  it('keeps its state across a restart', async () => {
    const before = JSON.parse(readFileSync(stateFile, 'utf8')) as { merchants: { apiKey: string }[] };
    const { id } = lastPayment();
    expect(await stop()).toBe(0);
    await start();
    const after = JSON.parse(readFileSync(stateFile, 'utf8')) as { api: { url: string }; merchants: { apiKey: string }[] };
    expect(after.merchants).toEqual(before.merchants);
    const answer = await fetch(`${after.api.url}/v1/payments/${id}`, { headers: { authorization: `Bearer ${before.merchants[0]?.apiKey ?? ''}` } });
    expect(answer.status).toBe(200);
    expect(((await answer.json()) as { status: string }).status).toBe('paid_out');
    const { code, stderr } = await run(process.execPath, ['tools/run.mjs', 'pay', '--amount', '2']);
    expect(code, stderr).toBe(0);
  }, 240_000);
});

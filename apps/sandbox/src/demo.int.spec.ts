import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-demo-spec-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** As a user runs it, from the shell. */
function demo(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['tools/run.mjs', 'demo', ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const run = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (run.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (run.stderr += text));
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code, ...run })));
}

const ordinary = { refused: { SANCTIONED_ADDRESS: 1, INSUFFICIENT_FUNDS: 1, SIGNATURE_INVALID: 1, AUTHORIZATION_EXPIRED: 1 }, submitted: 60, replayed: 1, collected: 55, held: 0, accepted: 57 };

describe('npm run demo', () => {
  it.each([
    { title: 'the Postgres feed', args: [], feed: 'postgres', killed: [] },
    { title: 'a real Kafka broker', args: ['--kafka'], feed: 'kafka', killed: [] },
    { title: 'the relayer and the gateway killed in mid-flow', args: ['--kill', 'relayer', '--kill', 'gateway'], feed: 'postgres', killed: ['relayer', 'gateway'] },
    { title: 'the other three killed in mid-flow, on Kafka', args: ['--kafka', '--kill', 'paymaster', '--kill', 'batch-settlement', '--kill', 'compliance-screening'], feed: 'kafka', killed: ['paymaster', 'batch-settlement', 'compliance-screening'] },
  ])('brings every payment to its end over $title', async ({ args, feed, killed }) => {
    const report = join(folder, `report-${feed}-${killed.length}.html`);
    const { code, stdout, stderr } = await demo('--payments', '60', '--merchants', '5', '--json', '--report', report, ...args);
    expect(code, stderr.slice(-4_000)).toBe(0);
    const document = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(document).toMatchObject({ ok: true, feed, seed: 1, payments: ordinary, killed });
    expect(document['events']).toMatchObject({ lost: 0, doubled: 0 });
    expect(document['ledger']).toMatchObject({ USDC: { sumOfPostings: '0', breaks: 0 } });
    const { merchantPayable, vaultBalanceOnChain } = (document['ledger'] as { USDC: Record<string, string> }).USDC;
    expect(merchantPayable).toBe(vaultBalanceOnChain);
    expect(readFileSync(report, 'utf8')).toContain('<svg');
  }, 240_000);

  it('says what is wrong with its options, all at once', async () => {
    const { code, stderr } = await demo('--payments', 'many', '--kill', 'nobody');
    expect(code).toBe(2);
    expect(stderr).toContain('--payments');
    expect(stderr).toContain('"nobody" is not a service');
  });
});

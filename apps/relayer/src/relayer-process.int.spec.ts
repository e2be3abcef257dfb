import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collectGasLimit } from '@settlement/chain/vault-codec';
import { IntentState, SubmitOutcome } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../test/in-process';
import { bundleRelayer, startRelayerProcess, type RelayerProcess, type RelayerProgram } from '../test/relayer-process';
import { DEV_RELAYER_KEY, startWorld, type RelayerWorld } from '../test/relayer-world';

let world: RelayerWorld;
let program: RelayerProgram;
let folder: string;
let processes: RelayerProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settlement-relayer-'));
  world = await startWorld({ databases: ['traced', 'poor', 'astray'], payers: 3, blockTimeMs: 500 });
  program = bundleRelayer();
});

afterEach(async () => {
  for (const running of processes) {
    running.kill('SIGKILL');
    await running.ended;
    await running.closeClient();
  }
  processes = [];
});

afterAll(async () => {
  program?.remove();
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(environment: Record<string, string>): Promise<RelayerProcess> {
  const running = await startRelayerProcess(program, environment);
  processes.push(running);
  return running;
}

interface SpanLine {
  readonly name: string;
  readonly traceId: string;
}

describe('the relayer as a process', () => {
  it('serves gRPC, describes its chain, joins the caller\'s trace down to the chain, and never prints a key', async () => {
    const traceFile = join(folder, 'spans.jsonl');
    const running = await start({ ...world.environment('traced'), LOG_LEVEL: 'trace', TRACE_FILE: traceFile });
    await until('ready', () => running.ready());
    const chain = await running.client.describeChain({ chainId: 'eip155:31337' });
    expect(chain).toMatchObject({ vaultAddress: world.chain.vault, finalityDepth: 1, collectGasMax: collectGasLimit(1) });
    await expect(running.client.describeChain({ chainId: 'eip155:1' })).rejects.toThrow(/chain_id/);

    const traceId = 'a1'.repeat(16);
    const requests = [world.collect({ payer: 0 }), world.collect({ payer: 1 })];
    const { items } = await running.client.submitMany({ items: requests }, { traceparent: `00-${traceId}-${'b2'.repeat(8)}-01` });
    expect(items.map(({ outcome }) => outcome)).toEqual([SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED]);
    const intentIds = requests.map(({ intentId }) => intentId);
    await until('final', async () => (await running.client.getIntents({ intentIds })).items.every(({ state }) => state === IntentState.INTENT_STATE_FINAL));
    const metrics = await (await fetch(`${running.opsUrl}/metrics`)).text();
    expect(metrics).toMatch(/settlement_relayer_intents_final_total\{[^}]*outcome="executed"[^}]*\} 2/);
    running.kill('SIGTERM');
    expect(await running.ended).toEqual({ code: 0, signal: null });
    const spans = readFileSync(traceFile, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as SpanLine);
    expect(spans.filter((span) => span.name === 'chain.collect' && span.traceId === traceId)).toHaveLength(2);
    expect(running.output()).toContain('transaction final');
    expect(running.output()).not.toContain(DEV_RELAYER_KEY.slice(2));
  });

  it('is not ready with a key that cannot pay, and says which', async () => {
    const running = await start({ ...world.environment('poor'), RELAYER_KEYS: JSON.stringify([`0x${'42'.repeat(32)}`]) });
    await until('it answers', async () => (await fetch(`${running.opsUrl}/health/ready`).then((it) => it.text(), () => '')).includes('fund it'));
    expect(await running.ready()).toBe(false);
  });

  it('is not ready on another chain than it is configured for, and accepts intents all the same', async () => {
    const environment = world.environment('astray');
    const running = await start({ ...environment, CHAINS: (environment['CHAINS'] ?? '').replace('eip155:31337', 'eip155:8453') });
    await until('it says so', async () => (await fetch(`${running.opsUrl}/health/ready`).then((it) => it.text(), () => '')).includes('serves chain 31337, not 8453'));
    expect(await running.ready()).toBe(false);
    const { items } = await running.client.submitMany({ items: [{ ...world.collect({ payer: 2 }), chainId: 'eip155:8453' }] });
    expect(items[0]?.outcome).toBe(SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED);
  });

  it('names every problem of its configuration at once, echoes no secret, and exits with 78', async () => {
    const running = await start({ ...world.environment('traced'), RELAYER_KEYS: JSON.stringify(['0xsecret']), LANE_IN_FLIGHT_MAX: '0', FEE_PER_GAS_WEI_MAX: '1.5' });
    expect(await running.ended).toEqual({ code: 78, signal: null });
    for (const name of ['RELAYER_KEYS', 'LANE_IN_FLIGHT_MAX', 'FEE_PER_GAS_WEI_MAX']) expect(running.output()).toContain(name);
    expect(running.output()).not.toContain('0xsecret');
  });
});

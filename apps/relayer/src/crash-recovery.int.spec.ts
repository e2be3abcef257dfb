import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, until } from '../test/in-process';
import { bundleRelayer, startRelayerProcess, type RelayerProcess, type RelayerProgram } from '../test/relayer-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';
import { CRASH_POINTS } from './ports/crash-points';

const INTENTS = 25;
const database = (point: string): string => `relayer_${point.replaceAll('-', '_')}`;

let world: RelayerWorld;
let program: RelayerProgram;
let processes: RelayerProcess[] = [];

beforeAll(async () => {
  world = await startWorld({ databases: ['undisturbed', ...CRASH_POINTS].map(database), payers: INTENTS, blockTimeMs: 500 });
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
});

async function start(name: string, extra: Record<string, string> = {}): Promise<RelayerProcess> {
  const running = await startRelayerProcess(program, { ...world.environment(database(name)), COLLECT_ITEMS_MAX: '10', COLLECT_WAIT_MS: '100', ...extra });
  processes.push(running);
  await until(`${name} is ready or gone`, async () => (await running.ready()) || running.child.exitCode !== null || running.child.signalCode !== null);
  return running;
}

interface End {
  readonly collected: bigint;
  readonly merchants: readonly bigint[];
  readonly executedOnce: boolean;
  readonly noncesUsed: bigint;
  readonly plans: number;
  readonly signatures: number;
  readonly finals: number;
  readonly costIsWhatTheKeyPaid: boolean;
}

const balance = async (): Promise<bigint> => BigInt(String(await world.rpc.call('eth_getBalance', [world.relayer, 'latest'])));
const merchants = (): Promise<readonly bigint[]> => Promise.all([1, 2, 3].map((merchant) => world.merchantUnits(merchant)));

/** Submits, lets what happens happen, and describes the end relative to the beginning. */
async function journey(name: string, happen: (requests: readonly SubmitRequest[]) => Promise<RelayerProcess>): Promise<End> {
  const before = { vault: await world.vaultUnits(), nonce: await world.relayerNonce(), balance: await balance(), merchants: await merchants() };
  const requests = Array.from({ length: INTENTS }, (_, i) => world.collect({ payer: i, merchant: 1 + (i % 3) }));
  const running = await happen(requests);
  const intentIds = requests.map(({ intentId }) => intentId);
  try {
    await until('every intent is final', async () => {
      const { items } = await running.client.getIntents({ intentIds });
      return items.every(({ state }) => state === IntentState.INTENT_STATE_FINAL);
    });
  } catch (error) {
    throw new Error(`${String(error)}\n${running.output()}`, { cause: error });
  }
  const events = (await readAll(world.postgres.urlFor(database(name)))).map(({ event }) => event);
  const outcomes = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes : []));
  const executed = outcomes.filter((outcome) => outcome.executed).map((outcome) => outcome.intentId);
  const nonces = events.flatMap((event) => (event.type === 'TransactionPlanned' ? [event.nonce] : []));
  const cost = outcomes.reduce((sum, outcome) => sum + BigInt(outcome.costWei), 0n);
  const after = await merchants();
  return {
    collected: (await world.vaultUnits()) - before.vault,
    merchants: after.map((units, i) => units - (before.merchants[i] ?? 0n)),
    executedOnce: executed.length === INTENTS && new Set(executed).size === INTENTS && outcomes.length === INTENTS,
    noncesUsed: (await world.relayerNonce()) - before.nonce,
    plans: new Set(nonces).size === nonces.length ? nonces.length : -1,
    signatures: events.filter((event) => event.type === 'TransactionSigned').length,
    finals: events.filter((event) => event.type === 'TransactionFinalized').length,
    costIsWhatTheKeyPaid: before.balance - (await balance()) === cost,
  };
}

const EXPECTED: End = {
  collected: 25_000_000n,
  merchants: [9_000_000n, 8_000_000n, 8_000_000n],
  executedOnce: true,
  noncesUsed: 3n,
  plans: 3,
  signatures: 3,
  finals: 3,
  costIsWhatTheKeyPaid: true,
};

describe('recovery after kill -9', () => {
  it('has an undisturbed run to compare with, which stops cleanly on SIGTERM', async () => {
    let running: RelayerProcess | undefined;
    const end = await journey('undisturbed', async (requests) => {
      running = await start('undisturbed');
      await running.client.submitMany({ items: [...requests] });
      return running;
    });
    expect(end).toEqual(EXPECTED);
    running?.kill('SIGTERM');
    expect(await running?.ended).toEqual({ code: 0, signal: null });
  });

  it.each(CRASH_POINTS)('ends the same when killed %s', async (point) => {
    const end = await journey(point, async (requests) => {
      const first = await start(point, { CRASH_AT: point });
      await first.client.submitMany({ items: [...requests] });
      expect((await first.ended).signal).toBe('SIGKILL');
      expect(first.output()).toContain(`crash point ${point}`);
      const second = await start(point);
      // The caller does not know what became of its call and repeats it.
      const { items } = await second.client.submitMany({ items: [...requests] });
      expect(items.every(({ reason }) => reason === 0)).toBe(true);
      return second;
    });
    expect(end).toEqual(EXPECTED);
  });
});

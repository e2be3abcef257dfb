import { addressWord } from '@settlement/chain/hex';
import type { EvmAddress } from '@settlement/kernel/address';
import { IntentReason, IntentState, SubmitOutcome, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newPayer, transfer, userOperation } from '../test/call-requests';
import { readAll, until } from '../test/in-process';
import { bundleRelayer, startRelayerProcess, type RelayerProcess, type RelayerProgram } from '../test/relayer-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';
import type { CrashPoint } from './ports/crash-points';

/** Those in which another kind could differ: what is encoded again, sent again, and read from other logs. All windows: crash-recovery. */
const WINDOWS = ['after-plan', 'after-broadcast', 'before-fact'] as const satisfies readonly CrashPoint[];

let world: RelayerWorld;
let program: RelayerProgram;
let processes: RelayerProcess[] = [];

beforeAll(async () => {
  world = await startWorld({ databases: WINDOWS.map((window) => window.replaceAll('-', '_')), payers: 4, blockTimeMs: 500 });
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

async function start(environment: Record<string, string>): Promise<RelayerProcess> {
  const running = await startRelayerProcess(program, environment);
  processes.push(running);
  await until('ready', () => running.ready());
  return running;
}

const unitsOf = async (who: EvmAddress): Promise<bigint> => BigInt(String(await world.rpc.call('eth_call', [{ to: world.chain.usdc, data: `0x70a08231${addressWord(who)}` }, 'latest'])));

describe('direct transfers and user operations, killed and started again', () => {
  it.each(WINDOWS)('ends the same when killed %s', async (window) => {
    const database = window.replaceAll('-', '_');
    const environment = { ...world.environment(database), COLLECT_WAIT_MS: '500' };
    const payee = newPayer().address;
    const requests: SubmitRequest[] = [
      ...world.payers.map((payer) => transfer(world, { payer, to: payee })),
      await userOperation(world, { version: '0.8', owner: newPayer() }),
      await userOperation(world, { version: '0.7', owner: newPayer() }),
    ];
    const doomed = await start({ ...environment, CRASH_AT: window });
    const { items } = await doomed.client.submitMany({ items: requests });
    expect(items.every(({ outcome }) => outcome === SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED)).toBe(true);
    expect((await doomed.ended).signal).toBe('SIGKILL');

    const again = await start(environment);
    const intentIds = requests.map(({ intentId }) => intentId);
    await until('all have ended', async () => {
      const { items: statuses } = await again.client.getIntents({ intentIds });
      return statuses.every(({ state }) => state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED);
    });
    const outcomes = (await readAll(world.postgres.urlFor(database))).flatMap(({ event }) => (event.type === 'TransactionFinalized' ? event.outcomes : []));
    expect(outcomes.map(({ intentId }) => intentId).sort()).toEqual([...intentIds].sort());
    expect(outcomes.map(({ executed, reason }) => [executed, IntentReason[reason]])).toEqual(intentIds.map(() => [true, 'INTENT_REASON_UNSPECIFIED']));
    expect(await unitsOf(payee)).toBe(BigInt(world.payers.length) * 1_000_000n);
  });
});

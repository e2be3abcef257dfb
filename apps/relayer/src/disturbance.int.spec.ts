import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, until } from '../test/in-process';
import { bundleRelayer, startRelayerProcess, type RelayerProcess, type RelayerProgram } from '../test/relayer-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';

const ROUNDS = 20;
const ROUND_SIZE = 20;
const ROUND_MS = 200;

let world: RelayerWorld;
let program: RelayerProgram;
let running: RelayerProcess | undefined;

beforeAll(async () => {
  world = await startWorld({ databases: ['killed', 'database_lost', 'chain_silent', 'reorged'], payers: 50, blockTimeMs: 1_000, finalityDepth: 3 });
  program = bundleRelayer();
});

afterEach(async () => {
  running?.kill('SIGKILL');
  await running?.ended;
  await running?.closeClient();
  running = undefined;
});

afterAll(async () => {
  program?.remove();
  await world?.stop();
});

async function start(database: string): Promise<RelayerProcess> {
  const next = await startRelayerProcess(program, { ...world.environment(database), COLLECT_ITEMS_MAX: '40', LOG_LEVEL: 'warn', RPC_TIMEOUT_MS: '3000' });
  await until('the relayer is ready', () => next.ready());
  return next;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** As a caller does: the same call until it is answered, whatever happens to the one who answers. */
async function submitUntilAnswered(items: SubmitRequest[]): Promise<void> {
  let last: unknown;
  for (const end = Date.now() + 40_000; Date.now() < end; ) {
    try {
      await running?.client.submitMany({ items }, { deadlineMs: 3_000 });
      return;
    } catch (error) {
      // Not answered: done, not done or unknown are all the same to an idempotent call.
      last = error;
      await pause(100);
    }
  }
  throw new Error(`no answer for 40 s, at last ${String(last)}\n${running?.output() ?? ''}`);
}

/** With the service's own words when it does not get there. */
async function everythingEnds(holds: () => Promise<boolean>): Promise<void> {
  try {
    await until('every intent is final', holds, 40_000);
  } catch (error) {
    const ops = async (path: string): Promise<string> => (await fetch(`${running?.opsUrl ?? ''}${path}`)).text();
    const metrics = (await ops('/metrics')).split('\n').filter((line) => line.startsWith('settlement_'));
    throw new Error([String(error), running?.output(), await ops('/health/ready'), ...metrics].join('\n'), { cause: error });
  }
}

/** Submits 400 intents while `disturb` does its worst, then checks that the end is as if nothing had happened. */
async function surviving(database: string, disturb: (round: number) => Promise<void>): Promise<void> {
  const units = await world.vaultUnits();
  const nonce = await world.relayerNonce();
  running = await start(database);
  const all: SubmitRequest[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const items = Array.from({ length: ROUND_SIZE }, (_, i) => world.collect({ payer: round * ROUND_SIZE + i, merchant: 1 + (i % 5) }));
    all.push(...items);
    await disturb(round);
    await submitUntilAnswered(items);
    await pause(ROUND_MS);
  }
  const intentIds = all.map(({ intentId }) => intentId);
  await everythingEnds(async () => {
    try {
      const { items } = (await running?.client.getIntents({ intentIds })) ?? { items: [] };
      return items.length > 0 && items.every(({ state }) => state === IntentState.INTENT_STATE_FINAL);
    } catch {
      // The service is on its way up again.
      return false;
    }
  });
  expect(await world.vaultUnits()).toBe(units + BigInt(ROUNDS * ROUND_SIZE) * 1_000_000n);
  const events = (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
  const executed = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes.filter((it) => it.executed).map((it) => it.intentId) : []));
  expect(executed.length).toBe(intentIds.length);
  expect(new Set(executed)).toEqual(new Set(intentIds));
  const planned = events.flatMap((event) => (event.type === 'TransactionPlanned' ? [event] : []));
  expect(new Set(planned.map((event) => event.nonce)).size).toBe(planned.length);
  expect(new Set(planned.flatMap((event) => event.intentIds)).size).toBe(intentIds.length);
  // One signature of each plan; a slow chain may have been outbid since.
  expect(events.filter((event) => event.type === 'TransactionSigned' && event.attempt === 0)).toHaveLength(planned.length);
  expect((await world.relayerNonce()) - nonce).toBe(BigInt(planned.length));
}

describe('an ordinary bad day', () => {
  it('kill -9 of the relayer at five arbitrary moments loses and doubles nothing', async () => {
    const kills = new Set([3, 6, 9, 12, 16]);
    await surviving('killed', async (round) => {
      if (!kills.has(round)) return;
      running?.kill('SIGKILL');
      await running?.ended;
      await running?.closeClient();
      running = await start('killed');
    });
  });

  it('kill -9 of Postgres in mid-load loses and doubles nothing, and the relayer goes on by itself', async () => {
    await surviving('database_lost', async (round) => {
      if (round !== 7) return;
      await world.postgres.kill9();
      await pause(700);
      await world.postgres.start();
    });
  });

  it('a chain that stands still for six seconds loses and doubles nothing', async () => {
    await surviving('chain_silent', async (round) => {
      if (round === 5) process.kill(world.anvil.pid, 'SIGSTOP');
      if (round === 13) {
        await pause(4_000);
        process.kill(world.anvil.pid, 'SIGCONT');
      }
    });
  });

  it('two reorgs of two blocks under load lose and double nothing', async () => {
    await surviving('reorged', async (round) => {
      if (round === 7 || round === 14) await world.rpc.call('anvil_reorg', [2, []]);
    });
    const events = (await readAll(world.postgres.urlFor('reorged'))).map(({ event }) => event);
    expect(events.some((event) => event.type === 'TransactionReorged')).toBe(true);
  });
});

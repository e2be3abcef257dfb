import { systemClock } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase } from '@settlement/event-store/postgres-event-store';
import { TransactionPurpose } from '@settlement/proto/relayer/v1/events';
import { IntentState, LaneState, type LaneStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import pg from 'pg';
import { relayerCodec } from '../src/relayer.codec';
import type { RelayerEvent } from '../src/relayer.events';
import { transactionIdOf, transactionStreamOf } from '../src/transaction/transaction.decider';
import { readAll, startRelayer, until, type RunningRelayer } from './in-process';
import type { RelayerWorld } from './relayer-world';

const CHECKS = { LANE_CHECK_MS: '200', COLLECT_WAIT_MS: '20', AFFINITY_GRACE_MS: '100' };

export interface Lane {
  readonly key: string;
  readonly address: string;
}

export type LaneScenario = ReturnType<typeof laneScenario>;

/** What tests do to the lanes of one world. */
export function laneScenario(world: RelayerWorld) {
  const started: RunningRelayer[] = [];
  // The first key only takes intents in, in the place of a process that dies before it plans.
  let nextKey = 1;

  /** Keys that no other test uses. */
  function freshLane(): Lane {
    const [key, address] = [world.keys[nextKey], world.keyAddresses[nextKey]];
    nextKey += 1;
    if (key === undefined || address === undefined) throw new RangeError('the world has too few keys');
    return { key, address };
  }

  async function start(database: string, lanes: readonly Lane[], extra: Record<string, string> = {}): Promise<RunningRelayer> {
    const running = await startRelayer({ ...world.environment(database), ...CHECKS, RELAYER_KEYS: JSON.stringify(lanes.map(({ key }) => key)), ...extra });
    started.push(running);
    return running;
  }

  async function stop(running: RunningRelayer): Promise<void> {
    const at = started.indexOf(running);
    if (at >= 0) started.splice(at, 1);
    await running.stop();
  }

  const mining = (on: boolean): Promise<unknown> => world.rpc.call('evm_setIntervalMining', [on ? 1 : 0]);
  const countOf = async (lane: Lane): Promise<bigint> => BigInt(String(await world.rpc.call('eth_getTransactionCount', [lane.address, 'latest'])));
  const eventsOf = async (database: string): Promise<readonly RelayerEvent[]> => (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
  const idsOf = (requests: readonly SubmitRequest[]): string[] => requests.map(({ intentId }) => intentId);
  const some = (count: number): SubmitRequest[] => Array.from({ length: count }, (_, i) => world.collect({ payer: i }));

  async function laneOf(running: RunningRelayer, lane: Lane): Promise<LaneStatus> {
    const found = (await running.relayer.queries.lanes(undefined)).find(({ keyAddress }) => keyAddress === lane.address);
    if (found === undefined) throw new Error('the lane is not listed');
    return found;
  }

  async function reaches(running: RunningRelayer, lane: Lane, state: LaneState): Promise<void> {
    let last: LaneStatus | undefined;
    await until(`the lane is ${LaneState[state] ?? ''}`, async () => (last = await laneOf(running, lane)).state === state, 15_000).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}`);
    });
  }

  async function execute(running: RunningRelayer, requests: readonly SubmitRequest[]): Promise<void> {
    await running.relayer.submission.submit(requests, '');
    await final(running, requests);
  }

  async function final(running: RunningRelayer, requests: readonly SubmitRequest[]): Promise<void> {
    await until('all are final', async () => (await running.relayer.queries.intents(idsOf(requests))).every(({ state }) => state === IntentState.INTENT_STATE_FINAL), 20_000);
  }

  /** Somebody else who has the key: an empty transfer past the relayer. */
  async function useElsewhere(lane: Lane): Promise<void> {
    await world.rpc.call('anvil_impersonateAccount', [lane.address]);
    const before = await countOf(lane);
    await world.rpc.call('eth_sendTransaction', [{ from: lane.address, to: lane.address, value: '0x0', gas: '0x5208' }]);
    await until('the foreign transaction is mined', async () => (await countOf(lane)) === before + 1n);
    await world.rpc.call('anvil_stopImpersonatingAccount', [lane.address]);
  }

  /** A plan on record as a process leaves it that dies before it signs. */
  async function plant(database: string, lane: Lane, nonce: bigint, request: SubmitRequest): Promise<void> {
    const url = world.postgres.urlFor(database);
    const store = await openEventStore({ source: 'relayer', partitionMap: singleDatabase(url, 4), region: 'local', epoch: 1n, clock: systemClock });
    const chainId = request.chainId;
    const transactionId = transactionIdOf(chainId, lane.address, nonce);
    try {
      await store.append({
        streamId: transactionStreamOf(chainId, lane.address, nonce),
        expectedVersion: 'must-not-exist',
        commandId: `planted-${nonce}`,
        events: [
          relayerCodec.encode({
            type: 'TransactionPlanned',
            transactionId,
            chainId,
            keyAddress: lane.address,
            nonce,
            to: world.chain.vault,
            data: '0x',
            gasLimit: 100_000n,
            intentIds: [request.intentId],
            plannedAtNs: systemClock.nowNs(),
            fencingToken: 1n,
            purpose: TransactionPurpose.TRANSACTION_PURPOSE_EXECUTE,
            valueWei: '',
          }),
        ],
      });
    } finally {
      await store.close();
    }
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('INSERT INTO relayer.intent_claim (intent_id, transaction_id) VALUES ($1, $2)', [request.intentId, transactionId]);
    await client.end();
  }

  /** An intent on record that no process has planned. */
  async function accept(database: string, request: SubmitRequest): Promise<void> {
    // Migrates the tables as well.
    const idle = await startRelayer({ ...world.environment(database), RELAYER_KEYS: JSON.stringify([world.keys[0]]), COLLECT_WAIT_MS: '60000' });
    await idle.relayer.submission.submit([request], '');
    await idle.stop();
  }

  /** After each test: nothing runs, and blocks come again. */
  async function settle(): Promise<void> {
    for (const it of started.splice(0)) await it.stop();
    await mining(true);
  }

  return { freshLane, start, stop, laneOf, reaches, execute, final, useElsewhere, plant, accept, mining, countOf, eventsOf, idsOf, some, settle };
}

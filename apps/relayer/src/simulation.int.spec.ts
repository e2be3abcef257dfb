import { AUTHORIZATION_USED_TOPIC } from '@settlement/chain/contract-codec';
import type { EvmAddress } from '@settlement/kernel/address';
import { IntentReason, IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { LacksMethod } from '@settlement/testing/rpc-proxy/faults';
import { startRpcProxy, type RpcProxy } from '@settlement/testing/rpc-proxy/rpc-proxy';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type RelayerWorld } from '../test/relayer-world';
import { TOPICS } from './lane/simulation.policy';

/*
 * Stand-ins with a few hand-assembled opcodes, put in the place of the token or the vault: what an upgrade of a token, or a
 * wrong address in a configuration, could bring about.
 */
const THIEF = '0x7ef1ef7ef1ef7ef1ef7ef1ef7ef1ef7ef1ef7ef1' as EvmAddress;
const STOP = '00';
const push = (hex: string): string => `${(0x5f + hex.length / 2).toString(16)}${hex}`;
const calldata = (offset: number): string => `60${offset.toString(16).padStart(2, '0')}35`;
const LOG3_OF_ONE_WORD = `${push('20')}${push('00')}a3`;
const topic = (value: string): string => push(value.slice(2));

/**
 * A token that keeps its books for the vault, so that the vault notices nothing: any call but `balanceOf` is taken for
 * `receiveWithAuthorization`, moves word 2 from word 0 to word 1 and says so, and that the authorization is used. `extra`
 * runs after that.
 */
function tokenWith(extra: string): string {
  // balanceOf(address) answers slot 0; everything else jumps over it.
  const dispatch = '60003560e01c6370a0823114601257601e565b60005460005260206000f35b';
  const moves = '60443580600054016000556000' + '52';
  const said = `${calldata(36)}${calldata(4)}${topic(TOPICS.transfer)}${LOG3_OF_ONE_WORD}`;
  const used = `${calldata(164)}${calldata(4)}${topic(AUTHORIZATION_USED_TOPIC)}${push('00')}${push('00')}a3`;
  return `0x${dispatch}${moves}${said}${used}${extra}${STOP}`;
}

const alsoMoves = `${push(THIEF.slice(2))}${calldata(36)}${topic(TOPICS.transfer)}${LOG3_OF_ONE_WORD}`;
const alsoApproves = `${push(THIEF.slice(2))}${calldata(36)}${topic(TOPICS.approval)}${LOG3_OF_ONE_WORD}`;
/** Until less than 30,000 gas are left: JUMPDEST GAS > 30000 JUMPI, at the offset where it stands. */
const burns = (at: number): string => `5b${push('7530')}5a1161${at.toString(16).padStart(4, '0')}57`;

/** A vault that runs somebody else's code in its own place. */
const DELEGATING_VAULT = `0x6000600060006000${push(THIEF.slice(2))}5af400`;
/** A vault that sends its native currency away. */
const LEAKING_VAULT = `0x60006000600060006001${push(THIEF.slice(2))}5af100`;

let world: RelayerWorld;
let running: RunningRelayer | undefined;
let proxy: RpcProxy | undefined;
let codeOf: { token: unknown; vault: unknown };

beforeAll(async () => {
  world = await startWorld({ databases: ['moves', 'approves', 'burns', 'delegates', 'leaks', 'honest', 'blind'], payers: 10, blockTimeMs: 250, finalityDepth: 1 });
  codeOf = { token: await world.rpc.call('eth_getCode', [world.chain.usdc, 'latest']), vault: await world.rpc.call('eth_getCode', [world.chain.vault, 'latest']) };
});

afterEach(async () => {
  await running?.stop();
  await proxy?.stop();
  [running, proxy] = [undefined, undefined];
  await world.rpc.call('anvil_setCode', [world.chain.usdc, codeOf.token]);
  await world.rpc.call('anvil_setCode', [world.chain.vault, codeOf.vault]);
});

afterAll(async () => {
  await world?.stop();
});

async function outcomes(database: string, requests: readonly SubmitRequest[], change: Record<string, unknown> = {}): Promise<void> {
  const environment = world.environment(database);
  const [chain] = JSON.parse(environment['CHAINS'] ?? '[]') as Record<string, unknown>[];
  running = await startRelayer({ ...environment, CHAINS: JSON.stringify([{ ...chain, ...change }]), COLLECT_WAIT_MS: '20' });
  await running.relayer.submission.submit(requests, '');
  const ids = requests.map(({ intentId }) => intentId);
  await until('all have ended', async () => (await running?.relayer.queries.intents(ids))?.every(({ state }) => state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED) ?? false);
}

/** Nothing was planned, signed or sent, and each intent's end says what was seen. */
async function refusedOnRecord(database: string, requests: readonly SubmitRequest[], reason: IntentReason, says: RegExp): Promise<void> {
  const nonce = await world.relayerNonce();
  await outcomes(database, requests);
  const events = (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
  expect(events.filter(({ type }) => type.startsWith('Transaction'))).toEqual([]);
  const ends = events.flatMap((event) => (event.type === 'IntentExpired' ? [event] : []));
  expect(ends.map(({ intentId }) => intentId).sort()).toEqual(requests.map(({ intentId }) => intentId).sort());
  for (const end of ends) {
    expect(end.reason).toBe(reason);
    expect(end.detail).toMatch(says);
  }
  expect(await world.relayerNonce()).toBe(nonce);
}

const { INTENT_REASON_SIMULATION_REFUSED: REFUSED, INTENT_REASON_GAS_ANOMALY: ANOMALY } = IntentReason;

describe('simulation before signing', () => {
  it('a token that moves the vault’s money beside the payer’s: nothing is signed, the movement is on record', async () => {
    await world.rpc.call('anvil_setCode', [world.chain.usdc, tokenWith(alsoMoves)]);
    await refusedOnRecord('moves', [0, 1, 2].map((payer) => world.collect({ payer })), REFUSED, new RegExp(`1000000 of ${world.chain.usdc} would go from ${world.chain.vault} to ${THIEF}`));
  });

  it('a token that makes the vault approve somebody: nothing is signed, the approval is on record', async () => {
    await world.rpc.call('anvil_setCode', [world.chain.usdc, tokenWith(alsoApproves)]);
    await refusedOnRecord('approves', [world.collect({ payer: 3 })], REFUSED, new RegExp(`${world.chain.vault} would approve ${THIEF} to take its ${world.chain.usdc}`));
  });

  it('a token that burns what gas it gets: nothing is signed', async () => {
    const before = tokenWith('').length / 2 - 2;
    await world.rpc.call('anvil_setCode', [world.chain.usdc, tokenWith(burns(before))]);
    await refusedOnRecord('burns', [world.collect({ payer: 4 })], ANOMALY, /uses \d+ gas, far more than 1 of its kind need/);
  });

  it('a vault that runs other code in its own place: nothing is signed, the delegate call is on record', async () => {
    await world.rpc.call('anvil_setCode', [world.chain.vault, DELEGATING_VAULT]);
    await refusedOnRecord('delegates', [world.collect({ payer: 5 })], REFUSED, new RegExp(`${THIEF} would run in place of ${world.chain.vault}`));
  });

  it('a vault that sends native currency away: nothing is signed', async () => {
    await world.rpc.call('anvil_setBalance', [world.chain.vault, '0x64']);
    await world.rpc.call('anvil_setCode', [world.chain.vault, LEAKING_VAULT]);
    await refusedOnRecord('leaks', [world.collect({ payer: 6 })], REFUSED, new RegExp(`1 of native would go from ${world.chain.vault} to ${THIEF}`));
  });

  it('the same stand-in without a trick goes through: it is the trick that is refused', async () => {
    await world.rpc.call('anvil_setCode', [world.chain.usdc, tokenWith('')]);
    const requests = [world.collect({ payer: 7 })];
    await outcomes('honest', requests);
    expect((await running?.relayer.queries.intents([requests[0]?.intentId ?? '']))?.[0]?.state).toBe(IntentState.INTENT_STATE_FINAL);
  });

  it('a node without eth_simulateV1 executes by eth_call, asks for it once, and goes on', async () => {
    proxy = await startRpcProxy(world.anvil.rpcUrl);
    proxy.set(new LacksMethod('eth_simulateV1'));
    const requests = [world.collect({ payer: 8 })];
    await outcomes('blind', requests, { rpcUrls: [proxy.url] });
    const more = [world.collect({ payer: 9 })];
    await running?.relayer.submission.submit(more, '');
    await until('the second is final', async () => (await running?.relayer.queries.intents(more.map(({ intentId }) => intentId)))?.[0]?.state === IntentState.INTENT_STATE_FINAL);
    expect(proxy.journal).toHaveLength(1);
  });
});

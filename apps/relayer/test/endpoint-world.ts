import { IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { FaultPlan } from '@settlement/testing/rpc-proxy/fault-plan';
import { startRpcProxy, type RpcProxy } from '@settlement/testing/rpc-proxy/rpc-proxy';
import { expect } from 'vitest';
import { readAll, startRelayer, until, type RunningRelayer } from './in-process';
import type { RelayerWorld } from './relayer-world';

/** What the chain said before a test, so that several may share it. */
export interface Standing {
  readonly units: bigint;
  readonly nonce: bigint;
}

/** The relayer in this process, with proxies between it and the one real node. One at a time. */
export class EndpointWorld {
  #running: RunningRelayer | undefined;
  proxies: readonly RpcProxy[] = [];

  constructor(readonly world: RelayerWorld) {}

  /** Behind a proxy for each plan; those of `privatePlans` are the private endpoints. */
  async relayerBehind(database: string, plans: readonly FaultPlan[], chain: Record<string, unknown> = {}, privatePlans: readonly FaultPlan[] = []): Promise<RunningRelayer> {
    this.proxies = await Promise.all([...plans, ...privatePlans].map((plan) => startRpcProxy(this.world.anvil.rpcUrl, plan)));
    const environment = this.world.environment(database);
    const [configured] = JSON.parse(environment['CHAINS'] ?? '[]') as Record<string, unknown>[];
    const urls = this.proxies.map(({ url }) => url);
    const privateRpcUrls = urls.slice(plans.length);
    this.#running = await startRelayer({
      ...environment,
      CHAINS: JSON.stringify([{ ...configured, rpcUrls: urls.slice(0, plans.length), ...(privateRpcUrls.length === 0 ? {} : { privateRpcUrls }), ...chain }]),
      RPC_TIMEOUT_MS: '700',
      REBROADCAST_MS: '600',
      COLLECT_ITEMS_MAX: '5',
      COLLECT_WAIT_MS: '30',
      LANE_IN_FLIGHT_MAX: '4',
    });
    return this.#running;
  }

  /** Ends the relayer and the proxies of a test. */
  async clear(): Promise<void> {
    await this.#running?.stop();
    this.#running = undefined;
    await Promise.all(this.proxies.map((it) => it.stop()));
    this.proxies = [];
  }

  collects(count: number): SubmitRequest[] {
    return Array.from({ length: count }, (_, i) => this.world.collect({ payer: i, merchant: 1 + (i % 4) }));
  }

  async standing(): Promise<Standing> {
    return { units: await this.world.vaultUnits(), nonce: await this.world.relayerNonce() };
  }

  async allFinal(by: RunningRelayer, requests: readonly SubmitRequest[], timeoutMs = 35_000): Promise<void> {
    const ids = requests.map(({ intentId }) => intentId);
    await until('every intent is final', async () => (await by.relayer.queries.intents(ids)).every(({ state }) => state === IntentState.INTENT_STATE_FINAL), timeoutMs);
  }

  /** The log and the chain tell the same story, each intent once in it, and nothing is left open. */
  async exactlyOnce(database: string, requests: readonly SubmitRequest[], before: Standing): Promise<void> {
    const { world } = this;
    expect(await world.vaultUnits()).toBe(before.units + BigInt(requests.length) * 1_000_000n);
    const events = (await readAll(world.postgres.urlFor(database))).map(({ event }) => event);
    const executed = events.flatMap((event) => (event.type === 'TransactionFinalized' ? event.outcomes.filter((it) => it.executed).map((it) => it.intentId) : []));
    expect([...executed].sort()).toEqual(requests.map(({ intentId }) => intentId).sort());
    const planned = events.flatMap((event) => (event.type === 'TransactionPlanned' ? [event] : []));
    const final = events.filter((event) => event.type === 'TransactionFinalized');
    expect(new Set(planned.map(({ nonce }) => nonce)).size).toBe(planned.length);
    expect(final).toHaveLength(planned.length);
    expect((await world.relayerNonce()) - before.nonce).toBe(BigInt(planned.length));
    for (const fact of final) {
      const receipt = (await world.rpc.call('eth_getTransactionReceipt', [fact.transactionHash])) as { status: string; blockHash: string } | null;
      expect(receipt).toMatchObject({ status: '0x1', blockHash: fact.blockHash });
    }
  }
}

export const metricLines = async (by: RunningRelayer, name: string): Promise<string[]> => (await by.registry.metrics()).split('\n').filter((line) => line.startsWith(name));

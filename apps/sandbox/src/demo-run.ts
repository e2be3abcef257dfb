import type { Clock } from '@settlement/kernel/time';
import { jsonRpc } from '@settlement/chain/rpc';
import { assembleDemo, type DemoResult, type Kill } from './demo-findings';
import type { DemoOptions } from './demo-options';
import type { DemoTarget } from './demo-target';
import { logHeads, storedEvents, type Heads } from './event-count';
import type { LiveView } from './live-view';
import { registerMerchants } from './merchants';
import { authorizationsUsed, tokenBalances } from './money-check';
import { Observer } from './observer';
import { expectationOf, planScenario, type Scenario } from './scenario';
import type { ServiceName } from './service-process';
import { payersOf, Traffic, type SubmissionResult } from './traffic';

const concurrency = 32;
/** Far above what a run takes; a system that stands still is told from a slow one by progress, see `settled`. */
const stallLimitMs = 60_000;

/** What the system held before this run: nothing, when it was started for it. */
interface Before {
  readonly heads: Heads;
  readonly blockNumber: bigint;
  readonly vault: bigint;
}

/** Sends the demo's payments to a running system, waits for their ends and says what holds. */
export async function driveDemo(target: DemoTarget, options: DemoOptions, clock: Clock, abort: AbortSignal, view: LiveView, startedAtMs: number): Promise<DemoResult> {
  const scenario = planScenario(options);
  const expected = expectationOf(scenario);
  const payers = payersOf(scenario, options.seed);
  const before = target.run === undefined ? { heads: new Map<string, bigint>(), blockNumber: 0n, vault: 0n } : await stateOf(target);
  const observer = new Observer();
  const feed = target.openFeed();
  try {
    await observer.start(feed, before.heads);
    view.say('· registering merchants and funding payers');
    const label = target.run === undefined ? 'demo' : `demo-${target.run}`;
    const merchants = await registerMerchants(target.api, target.adminToken, target.chainId, options.merchants, options.seed, label);
    const rich = [...payers.ordinary, payers.sanctioned].map((payer) => ({ to: payer.address, units: 1_000_000_000_000n }));
    await target.deployment.mintMany(rich);
    const blacklisted = scenario.blacklistedMerchant === undefined ? undefined : merchants[scenario.blacklistedMerchant];
    if (blacklisted !== undefined) await target.deployment.blacklist(blacklisted.payoutAddress);

    view.say(`· submitting ${options.payments} payments for ${options.merchants} merchants`);
    const { vault, usdcDomain } = target.deployment;
    const traffic = new Traffic(
      { api: target.api, chainId: target.chainId, vault, domain: usdcDomain, ...(target.run === undefined ? {} : { run: target.run }) },
      scenario, options.seed, merchants,
    );
    const kills: Kill[] = [];
    const restarts: Promise<void>[] = [];
    const killAt = new Map(options.kill.map((service, index) => [Math.floor((options.payments * (index + 1)) / (options.kill.length + 2)), service]));
    const watch = setInterval(() => view.show(observer.counts(), options.payments, clock.monotonicMs()), 200);
    try {
      await traffic.run(concurrency, (started) => {
        if (abort.aborted) throw new Error('interrupted');
        const service = killAt.get(started);
        if (service === undefined) return;
        killAt.delete(started);
        restarts.push(killAndRestart(target, service, clock, kills, view));
      });
      await Promise.all(restarts);
      await settled(observer, scenario, traffic.results, clock, abort);
    } finally {
      clearInterval(watch);
      view.clear();
      await Promise.allSettled(restarts);
    }

    const stored = await settledEvents(target, before.heads, observer, clock);
    const ledger = await target.ledger();
    const received = await tokenBalances(target, merchants.map((merchant) => merchant.payoutAddress));
    const onChain = await authorizationsUsed(target, before.blockNumber);
    return assembleDemo({
      options, feed: target.feed, scenario, expected, observer, results: traffic.results, ledger, received, onChain, stored, kills,
      vaultBefore: before.vault, unexpected: target.unexpected, wallClockMs: Math.round(clock.monotonicMs() - startedAtMs),
    });
  } finally {
    view.say('· stopping');
    await observer.stop();
    await feed.close();
  }
}

async function stateOf(target: DemoTarget): Promise<Before> {
  const heads = await logHeads(target);
  const number = await jsonRpc(target.deployment.rpcUrl).call('eth_blockNumber', []);
  const [vault = 0n] = await tokenBalances(target, [target.deployment.vault]);
  return { heads, blockNumber: BigInt(String(number)) + 1n, vault };
}

async function killAndRestart(target: DemoTarget, service: ServiceName, clock: Clock, kills: Kill[], view: LiveView): Promise<void> {
  const kill: Kill = { service, atMs: clock.nowMs(), backAtMs: clock.nowMs() };
  kills.push(kill);
  await target.killAndRestart(service);
  kill.backAtMs = clock.nowMs();
  view.say(`· ${service} is back after ${kill.backAtMs - kill.atMs} ms`);
}

/** Until every accepted payment is refused, held, paid out, or collected for a merchant that cannot be paid. Gives up when nothing moves. */
async function settled(observer: Observer, scenario: Scenario, results: readonly SubmissionResult[], clock: Clock, abort: AbortSignal): Promise<void> {
  const accepted = results.filter((result) => result.outcome === 'accepted').map((result) => result.paymentId);
  let last = '';
  let movedAtMs = clock.monotonicMs();
  for (;;) {
    if (abort.aborted) throw new Error('interrupted');
    const open = accepted.filter((id) => {
      const track = observer.payments.get(id);
      if (track === undefined) return true;
      if (track.refusedCode !== undefined || track.heldAtMs !== undefined || track.paidOutAtMs !== undefined) return false;
      return !(track.collectedAtMs !== undefined && observer.unpayableMerchants.has(track.merchantId));
    });
    if (open.length === 0) return;
    const state = JSON.stringify(observer.counts());
    if (state !== last) {
      last = state;
      movedAtMs = clock.monotonicMs();
    }
    // Nothing has moved for a minute: report what there is; the checks below say what is missing.
    if (clock.monotonicMs() - movedAtMs > stallLimitMs) return;
    await clock.sleep(100);
  }
}

/** Until the logs stop growing and the observer has read all of it; at most half a minute. Answers what was stored then. */
async function settledEvents(target: DemoTarget, since: Heads, observer: Observer, clock: Clock): Promise<number> {
  const deadline = clock.monotonicMs() + 30_000;
  let quietSince = clock.monotonicMs();
  let last = -1;
  while (clock.monotonicMs() < deadline) {
    const stored = await storedEvents(target, since);
    if (stored !== last) quietSince = clock.monotonicMs();
    last = stored;
    if (observer.delivered === stored && clock.monotonicMs() - quietSince >= 600) return stored;
    await clock.sleep(100);
  }
  return storedEvents(target, since);
}

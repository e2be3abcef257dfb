import type { Clock } from '@settlement/kernel/time';
import type { DemoOptions } from './demo-options';
import { storedEvents } from './event-count';
import { LiveView } from './live-view';
import { registerMerchants } from './merchants';
import { authorizationsUsed, ledgerView, tokenBalances, type LedgerView } from './money-check';
import { Observer } from './observer';
import { percentile } from '@settlement/testing/bench';
import { reportPage } from './report-page';
import { expectationOf, planScenario, type Expectation, type Scenario } from './scenario';
import type { ServiceName } from './service-process';
import { startSystem, type System } from './system';
import { payersOf, Traffic, type SubmissionResult } from './traffic';

export interface DemoDocument {
  readonly ok: boolean;
  readonly feed: 'postgres' | 'kafka';
  readonly seed: number;
  readonly payments: {
    readonly submitted: number;
    readonly replayed: number;
    readonly accepted: number;
    readonly refused: Readonly<Record<string, number>>;
    readonly collected: number;
    readonly paidOut: number;
    readonly held: number;
  };
  readonly ledger: Readonly<Record<string, LedgerView>>;
  readonly events: { readonly stored: number; readonly delivered: number; readonly lost: number; readonly doubled: number };
  readonly chain: { readonly transactions: number; readonly gasPerCollectedPayment: number; readonly gasPerPayout: number };
  readonly latencyMs: { readonly acceptedToFinal: { readonly p50: number; readonly p99: number } };
  readonly killed: readonly string[];
  readonly wallClockMs: number;
}

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface DemoResult {
  readonly document: DemoDocument;
  readonly checks: readonly Check[];
  readonly page: string;
}

interface Kill {
  readonly service: ServiceName;
  readonly atMs: number;
  backAtMs: number;
}

const blockTimeMs = 1_000;
const finalityDepth = 2;
const concurrency = 32;
/** Far above what a run takes; a system that stands still is told from a slow one by progress, see `settled`. */
const stallLimitMs = 60_000;

export async function runDemo(options: DemoOptions, folder: string, clock: Clock, abort: AbortSignal): Promise<DemoResult> {
  const startedAtMs = clock.monotonicMs();
  const view = new LiveView();
  const scenario = planScenario(options);
  const expected = expectationOf(scenario);
  const payers = payersOf(scenario, options.seed);
  const unexpected: string[] = [];

  const system = await startSystem({
    feed: options.feed,
    folder,
    lasting: false,
    blockTimeMs,
    finalityDepth,
    sanctioned: [payers.sanctioned.address],
    onProgress: (text) => view.say(`· ${text}`),
    onUnexpectedExit: (name, code, signal) => {
      unexpected.push(`${name} ended by itself (${signal ?? `code ${code}`})`);
      view.say(`✗ ${unexpected.at(-1)}`);
    },
  });
  const observer = new Observer();
  const feed = system.openFeed();
  try {
    await observer.start(feed);
    view.say('· registering merchants and funding payers');
    const merchants = await registerMerchants(system.apiUrl, system.adminToken, system.chainId, options.merchants, options.seed, 'demo');
    const rich = [...payers.ordinary, payers.sanctioned].map((payer) => ({ to: payer.address, units: 1_000_000_000_000n }));
    await system.deployment.mintMany(rich);
    const blacklisted = scenario.blacklistedMerchant === undefined ? undefined : merchants[scenario.blacklistedMerchant];
    if (blacklisted !== undefined) await system.deployment.blacklist(blacklisted.payoutAddress);

    view.say(`· submitting ${options.payments} payments for ${options.merchants} merchants`);
    const traffic = new Traffic({ apiUrl: system.apiUrl, chainId: system.chainId, vault: system.deployment.vault, domain: system.deployment.usdcDomain }, scenario, options.seed, merchants);
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
        restarts.push(killAndRestart(system, service, clock, kills, view));
      });
      await Promise.all(restarts);
      await settled(observer, scenario, traffic.results, clock, abort);
    } finally {
      clearInterval(watch);
      view.clear();
      await Promise.allSettled(restarts);
    }

    await settledEvents(system, observer, clock);
    const stored = await storedEvents(system);
    const ledger = await ledgerView(system);
    const received = await tokenBalances(system, merchants.map((merchant) => merchant.payoutAddress));
    const onChain = await authorizationsUsed(system);
    return assemble({ options, scenario, expected, observer, results: traffic.results, ledger, received, onChain, stored, kills, unexpected, wallClockMs: Math.round(clock.monotonicMs() - startedAtMs) });
  } finally {
    view.say('· stopping');
    await observer.stop();
    await feed.close();
    await system.stop();
  }
}

async function killAndRestart(system: System, name: ServiceName, clock: Clock, kills: Kill[], view: LiveView): Promise<void> {
  const service = system.services.get(name);
  if (service === undefined) throw new Error(`no service ${name}`);
  view.say(`· kill -9 ${name} (process ${service.pid ?? '?'})`);
  const kill: Kill = { service: name, atMs: clock.nowMs(), backAtMs: clock.nowMs() };
  kills.push(kill);
  await service.kill();
  await clock.sleep(500);
  service.start();
  await service.ready(60_000);
  kill.backAtMs = clock.nowMs();
  view.say(`· ${name} is back after ${kill.backAtMs - kill.atMs} ms`);
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

/** Until the logs stop growing and the observer has read all of it; at most half a minute. */
async function settledEvents(system: System, observer: Observer, clock: Clock): Promise<void> {
  const deadline = clock.monotonicMs() + 30_000;
  let quietSince = clock.monotonicMs();
  let last = -1;
  while (clock.monotonicMs() < deadline) {
    const stored = await storedEvents(system);
    if (stored !== last) quietSince = clock.monotonicMs();
    last = stored;
    if (observer.delivered === stored && clock.monotonicMs() - quietSince >= 600) return;
    await clock.sleep(100);
  }
}

interface Findings {
  readonly options: DemoOptions;
  readonly scenario: Scenario;
  readonly expected: Expectation;
  readonly observer: Observer;
  readonly results: readonly SubmissionResult[];
  readonly ledger: LedgerView;
  readonly received: readonly bigint[];
  readonly onChain: { readonly used: number; readonly twice: number };
  readonly stored: number;
  readonly kills: readonly Kill[];
  readonly unexpected: readonly string[];
  readonly wallClockMs: number;
}

function assemble(f: Findings): DemoResult {
  const { observer, expected, ledger } = f;
  const refused: Record<string, number> = {};
  for (const result of f.results) if (result.outcome === 'refused') refused[result.code] = (refused[result.code] ?? 0) + 1;
  const accepted = f.results.filter((result) => result.outcome === 'accepted');
  for (const { paymentId } of accepted) {
    const code = observer.payments.get(paymentId)?.refusedCode;
    if (code !== undefined) refused[code] = (refused[code] ?? 0) + 1;
  }
  const counts = observer.counts();
  const replayed = f.results.filter((result) => result.outcome === 'replayed').length;
  const refusedTotal = Object.values(refused).reduce((a, b) => a + b, 0);
  const doubled = observer.doubled.length + f.onChain.twice;
  const lost = f.stored - observer.delivered;
  const latencies = [...observer.payments.values()].flatMap((t) => (t.acceptedAtMs !== undefined && t.collectedAtMs !== undefined ? [t.collectedAtMs - t.acceptedAtMs] : []));
  const same = (a: object, b: object): boolean => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());

  const { collect, settle, refund } = observer.transactions;
  const document: DemoDocument = {
    ok: false,
    feed: f.options.feed,
    seed: f.options.seed,
    payments: { submitted: f.results.length, replayed, accepted: accepted.length, refused, collected: counts.collected, paidOut: counts.paidOut, held: counts.held },
    ledger: { USDC: ledger },
    events: { stored: f.stored, delivered: observer.delivered, lost, doubled },
    chain: {
      transactions: collect.count + settle.count + refund.count,
      gasPerCollectedPayment: collect.items === 0 ? 0 : Math.round(Number(collect.gas) / collect.items),
      gasPerPayout: settle.items === 0 ? 0 : Math.round(Number(settle.gas) / settle.items),
    },
    latencyMs: { acceptedToFinal: { p50: Math.round(percentile(latencies, 50)), p99: Math.round(percentile(latencies, 99)) } },
    killed: f.kills.map((kill) => kill.service),
    wallClockMs: f.wallClockMs,
  };
  const sumsUp = document.payments.submitted === replayed + refusedTotal + counts.collected + counts.held;
  const moneyRight = f.received.every((amount, index) => amount === expected.receivedByMerchant[index]);
  const undisturbed = same(refused, expected.refused) && counts.collected === expected.collected && counts.paidOut === expected.paidOut && replayed === expected.replayed && moneyRight;
  const checks: Check[] = [
    { name: 'every submission has one end', ok: sumsUp, detail: `${document.payments.submitted} = ${replayed} replayed + ${refusedTotal} refused + ${counts.collected} collected + ${counts.held} held` },
    { name: 'nothing collected or paid twice', ok: doubled === 0 && f.onChain.used === counts.collected, detail: doubled === 0 ? `${f.onChain.used} authorizations used on the chain, ${counts.collected} payments collected` : observer.doubled.slice(0, 5).join('; ') },
    { name: 'each merchant has exactly its money', ok: moneyRight, detail: moneyRight ? `${f.received.length} payout addresses hold what was paid for them` : 'a payout address holds something else' },
    { name: 'the ledger sums to zero', ok: ledger.sumOfPostings === '0', detail: `sum of postings ${ledger.sumOfPostings}` },
    {
      name: 'the ledger equals the chain',
      ok: ledger.vaultBalanceOnLedger === ledger.vaultBalanceOnChain && ledger.vaultBalanceOnChain === expected.leftInVault.toString() && ledger.breaks === 0,
      detail: `vault ${ledger.vaultBalanceOnChain} on the chain, ${ledger.vaultBalanceOnLedger} in the ledger, ${ledger.breaks} breaks`,
    },
    { name: 'no event lost or doubled', ok: lost === 0, detail: `${f.stored} stored, ${observer.delivered} delivered` },
    {
      name: f.kills.length === 0 ? 'the end state is the planned one' : 'the end state is the same as without the kill',
      ok: undisturbed,
      detail: undisturbed ? (f.kills.length === 0 ? 'refusals, collections and payouts as planned' : `although ${f.kills.map((kill) => kill.service).join(', ')} was killed in mid-flow`) : `expected ${JSON.stringify({ refused: expected.refused, collected: expected.collected, paidOut: expected.paidOut, replayed: expected.replayed })}, got ${JSON.stringify({ refused, collected: counts.collected, paidOut: counts.paidOut, replayed })}`,
    },
    { name: 'no service ended by itself', ok: f.unexpected.length === 0, detail: f.unexpected.length === 0 ? 'five processes ran throughout' : f.unexpected.join('; ') },
  ];
  const ok = checks.every((check) => check.ok);
  const page = reportPage({
    title: `Settlement: ${document.payments.submitted} payments for ${f.scenario.merchants} merchants`,
    checks,
    refused,
    tracks: [...observer.payments.values()],
    kills: f.kills,
    rows: [
      ['Feed', f.options.feed],
      ['Submitted', String(document.payments.submitted)],
      ['Accepted', String(document.payments.accepted)],
      ['Collected', String(counts.collected)],
      ['Paid out', String(counts.paidOut)],
      ['Gas a collected payment', document.chain.gasPerCollectedPayment.toLocaleString('en')],
      ['Gas a payout', document.chain.gasPerPayout.toLocaleString('en')],
      ['Transactions', String(document.chain.transactions)],
      ['Accepted to final, p50', `${document.latencyMs.acceptedToFinal.p50} ms`],
      ['Accepted to final, p99', `${document.latencyMs.acceptedToFinal.p99} ms`],
      ['Events stored, delivered', `${f.stored}, ${observer.delivered}`],
      ['Wall clock', `${(f.wallClockMs / 1000).toFixed(1)} s`],
    ],
  });
  return { document: { ...document, ok }, checks, page };
}

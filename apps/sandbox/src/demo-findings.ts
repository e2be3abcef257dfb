import { percentile } from '@settlement/testing/bench';
import type { DemoOptions } from './demo-options';
import type { LedgerView } from './money-check';
import type { Observer } from './observer';
import { reportPage } from './report-page';
import type { Expectation, Scenario } from './scenario';
import type { ServiceName } from './service-process';
import type { SubmissionResult } from './traffic';

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

export interface Kill {
  readonly service: ServiceName;
  readonly atMs: number;
  backAtMs: number;
}

export interface Findings {
  readonly options: DemoOptions;
  readonly feed: 'postgres' | 'kafka';
  readonly scenario: Scenario;
  readonly expected: Expectation;
  readonly observer: Observer;
  readonly results: readonly SubmissionResult[];
  readonly ledger: LedgerView;
  readonly received: readonly bigint[];
  readonly onChain: { readonly used: number; readonly twice: number };
  readonly stored: number;
  /** Minor units that the vault held before the run. */
  readonly vaultBefore: bigint;
  readonly kills: readonly Kill[];
  readonly unexpected: readonly string[];
  readonly wallClockMs: number;
}

/** Judges what a run has left behind: the document, the checks and the page. */
export function assembleDemo(f: Findings): DemoResult {
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
    feed: f.feed,
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
      ok: ledger.vaultBalanceOnLedger === ledger.vaultBalanceOnChain && ledger.vaultBalanceOnChain === (f.vaultBefore + expected.leftInVault).toString() && ledger.breaks === 0,
      detail: `vault ${ledger.vaultBalanceOnChain} on the chain, ${ledger.vaultBalanceOnLedger} in the ledger, ${ledger.breaks} breaks`,
    },
    { name: 'no event lost or doubled', ok: lost === 0, detail: `${f.stored} stored, ${observer.delivered} delivered` },
    {
      name: f.kills.length === 0 ? 'the end state is the planned one' : 'the end state is the same as without the kill',
      ok: undisturbed,
      detail: undisturbed ? (f.kills.length === 0 ? 'refusals, collections and payouts as planned' : `although ${f.kills.map((kill) => kill.service).join(', ')} was killed in mid-flow`) : `expected ${JSON.stringify({ refused: expected.refused, collected: expected.collected, paidOut: expected.paidOut, replayed: expected.replayed })}, got ${JSON.stringify({ refused, collected: counts.collected, paidOut: counts.paidOut, replayed })}`,
    },
    { name: 'no service ended by itself', ok: f.unexpected.length === 0, detail: f.unexpected.length === 0 ? 'the five services ran throughout' : f.unexpected.join('; ') },
  ];
  const ok = checks.every((check) => check.ok);
  const page = reportPage({
    title: `Settlement: ${document.payments.submitted} payments for ${f.scenario.merchants} merchants`,
    checks,
    refused,
    tracks: [...observer.payments.values()],
    kills: f.kills,
    rows: [
      ['Feed', f.feed],
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

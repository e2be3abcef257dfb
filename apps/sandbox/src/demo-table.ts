import { formatUnits } from '@settlement/kernel/money';
import type { DemoResult } from './demo-findings';

/** The result for a terminal. */
export function demoTable({ document, checks }: DemoResult, report: string): string {
  const { payments, chain, latencyMs, events } = document;
  const usdc = document.ledger['USDC'];
  const money = (minor: string | undefined): string => `${formatUnits(BigInt(minor ?? '0'), 6)} USDC`;
  const lines: [string, string][] = [
    ['submitted', String(payments.submitted)],
    ['  answered from memory (replayed)', String(payments.replayed)],
    ['accepted', String(payments.accepted)],
    ...Object.entries(payments.refused).map(([code, n]): [string, string] => [`refused: ${code}`, String(n)]),
    ['collected (final on the chain)', String(payments.collected)],
    ['held', String(payments.held)],
    ['paid out to merchants', String(payments.paidOut)],
    ['gas a collected payment', chain.gasPerCollectedPayment.toLocaleString('en')],
    ['gas a payout', chain.gasPerPayout.toLocaleString('en')],
    ['transactions', String(chain.transactions)],
    ['accepted → final, p50', `${latencyMs.acceptedToFinal.p50} ms`],
    ['accepted → final, p99', `${latencyMs.acceptedToFinal.p99} ms`],
    ['owed to merchants (ledger)', money(usdc?.merchantPayable)],
    ['in the vault (chain)', money(usdc?.vaultBalanceOnChain)],
    ['events stored / delivered', `${events.stored} / ${events.delivered}`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return [
    '',
    ...lines.map(([name, value]) => `  ${name.padEnd(width)}  ${value.padStart(14)}`),
    '',
    ...checks.map((check) => `  ${check.ok ? '✓' : '✗'} ${check.name}: ${check.detail}`),
    '',
    `  report: ${report}`,
    `  ${document.ok ? 'everything accepted reached its end, every invariant held' : 'SOMETHING DOES NOT HOLD: see the marks above'} (${(document.wallClockMs / 1000).toFixed(1)} s)`,
    '',
  ].join('\n');
}

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import { InvalidInput } from '@settlement/kernel/errors';
import { formatUnits } from '@settlement/kernel/money';
import { repositoryRoot } from '@settlement/config/repository-root';
import { demoHelp, parseDemoOptions, type DemoOptions } from './demo-options';
import { runDemo, type DemoResult } from './demo-run';

async function main(): Promise<number> {
  let options: DemoOptions;
  try {
    options = parseDemoOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    process.stderr.write(`${error.issues.map((issue) => `${issue.path} ${issue.message}`.trim()).join('\n')}\n\n${demoHelp}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(demoHelp);
    return 0;
  }

  const folder = mkdtempSync(join(tmpdir(), 'settlement-demo-'));
  const report = options.report ?? join(repositoryRoot, '.settlement', 'demo-report.html');
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (abort.signal.aborted) process.exit(130);
      process.stderr.write('\nstopping; once more to leave at once\n');
      abort.abort();
    });
  }
  let keepLogs = false;
  try {
    const result = await runDemo(options, folder, systemClock, abort.signal);
    if (abort.signal.aborted) return 130;
    mkdirSync(dirname(report), { recursive: true });
    writeFileSync(report, result.page);
    const document = { ...result.document, report };
    if (options.json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else process.stdout.write(table(result, report));
    keepLogs = !result.document.ok;
    return result.document.ok ? 0 : 1;
  } catch (error) {
    if (abort.signal.aborted) return 130;
    keepLogs = true;
    process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    if (keepLogs) {
      const kept = join(repositoryRoot, '.settlement', 'demo-logs');
      rmSync(kept, { recursive: true, force: true });
      mkdirSync(kept, { recursive: true });
      const { cpSync, existsSync } = await import('node:fs');
      if (existsSync(join(folder, 'logs'))) cpSync(join(folder, 'logs'), kept, { recursive: true });
      process.stderr.write(`the services' logs are in ${relative(process.cwd(), kept)}\n`);
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

function table({ document, checks }: DemoResult, report: string): string {
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

process.exitCode = await main();

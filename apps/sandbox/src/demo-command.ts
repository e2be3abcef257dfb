import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { InvalidInput } from '@settlement/kernel/errors';
import { demoHelp, parseDemoOptions, type DemoOptions, type DemoPlace } from './demo-options';
import type { DemoResult } from './demo-findings';
import { demoTable } from './demo-table';

/**
 * The demo as a command, wherever its system is: options in, one document or a table and a page out, Ctrl-C once to stop in
 * order and twice to leave. Answers the exit code; `onFailure` may keep what explains it.
 */
export async function demoCommand(
  argv: readonly string[],
  place: DemoPlace,
  run: (options: DemoOptions, abort: AbortSignal) => Promise<DemoResult>,
  onFailure: () => void = () => undefined,
): Promise<number> {
  let options: DemoOptions;
  try {
    options = parseDemoOptions(argv, place);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    process.stderr.write(`${error.issues.map((issue) => `${issue.path} ${issue.message}`.trim()).join('\n')}\n\n${demoHelp(place)}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(demoHelp(place));
    return 0;
  }

  const report = options.report ?? join(repositoryRoot, '.settlement', 'demo-report.html');
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (abort.signal.aborted) process.exit(130);
      process.stderr.write('\nstopping; once more to leave at once\n');
      abort.abort();
    });
  }
  try {
    const result = await run(options, abort.signal);
    if (abort.signal.aborted) return 130;
    mkdirSync(dirname(report), { recursive: true });
    writeFileSync(report, result.page);
    const document = { ...result.document, report };
    if (options.json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else process.stdout.write(demoTable(result, report));
    if (!result.document.ok) onFailure();
    return result.document.ok ? 0 : 1;
  } catch (error) {
    if (abort.signal.aborted) return 130;
    onFailure();
    process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

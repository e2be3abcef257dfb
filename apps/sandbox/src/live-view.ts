import type { StageCounts } from './observer';

/** Progress on standard error: one line redrawn on a terminal, a line every few seconds elsewhere. */
export class LiveView {
  private last = '';
  private lastPrintedAtMs = 0;
  private readonly terminal = process.stderr.isTTY === true;

  say(text: string): void {
    this.clear();
    process.stderr.write(`${text}\n`);
  }

  show(counts: StageCounts, total: number, nowMs: number): void {
    const width = 24;
    const bar = (n: number): string => '█'.repeat(Math.round((n / Math.max(1, total)) * width)).padEnd(width, '·');
    const line = `accepted ${counts.accepted}/${total}  submitted ${counts.submitted}  collected ${counts.collected} ${bar(counts.collected)}  paid out ${counts.paidOut}  refused ${counts.refused}  held ${counts.held}`;
    if (this.terminal) {
      this.clear();
      process.stderr.write(line);
      this.last = line;
    } else if (line !== this.last && nowMs - this.lastPrintedAtMs >= 2_000) {
      process.stderr.write(`  ${line}\n`);
      this.last = line;
      this.lastPrintedAtMs = nowMs;
    }
  }

  clear(): void {
    if (this.terminal && this.last !== '') process.stderr.write('\r\x1b[2K');
    if (this.terminal) this.last = '';
  }
}

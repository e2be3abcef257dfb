import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ScreeningMetrics } from '../ports/screening-metrics';

export function prometheusScreeningMetrics(registry: Registry, nowMs: () => number): ScreeningMetrics {
  const registers = [registry];
  const decisions = new Counter({ name: 'screening_decisions_total', help: 'Screenings decided and recorded, by verdict', labelNames: ['verdict'], registers });
  const judge = new Histogram({
    name: 'screening_judge_duration_seconds',
    help: 'Time to judge the items of one call in memory, without the append',
    buckets: [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25],
    registers,
  });
  const items = new Counter({ name: 'screening_items_judged_total', help: 'Items judged, repetitions included', registers });
  const unavailable = new Counter({ name: 'screening_unavailable_calls_total', help: 'Calls refused because no complete, fresh set of lists was there', registers });
  const refused = new Counter({ name: 'screening_list_versions_refused_total', help: 'List versions that were refused', labelNames: ['list', 'reason'], registers });
  const entries = new Gauge({ name: 'screening_list_entries', help: 'Entries of the active version', labelNames: ['list'], registers });
  const freshAtMs = new Map<string, number>();
  new Gauge({
    name: 'screening_list_age_seconds',
    help: 'Since the active version was last seen fresh',
    labelNames: ['list'],
    registers,
    collect() {
      for (const [list, atMs] of freshAtMs) this.set({ list }, Math.max(0, (nowMs() - atMs) / 1_000));
    },
  });
  return {
    decided: (verdict, count) => decisions.inc({ verdict }, count),
    judged: (count, ms) => {
      items.inc(count);
      judge.observe(ms / 1_000);
    },
    unavailable: () => unavailable.inc(),
    listLoaded: (list, count) => entries.set({ list }, count),
    listRefused: (list, reason) => refused.inc({ list, reason }),
    listFresh: (list, atNs) => freshAtMs.set(list, Number(atNs / 1_000_000n)),
  };
}

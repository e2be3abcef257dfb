import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listAt, objectAt, ofKind, textAt, type Release } from './manifests';

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly severity: string;
  readonly summary: string;
  readonly runbookUrl: string | undefined;
}

/** What other programs of the cluster export: node's own collectors (prom-client), kube-state-metrics, cert-manager, CloudNativePG. */
const PLATFORM_METRICS = new Set([
  'up', 'nodejs_eventloop_lag_p99_seconds', 'nodejs_heap_size_used_bytes', 'kube_pod_container_resource_limits',
  'certmanager_certificate_expiration_timestamp_seconds', 'cnpg_pg_replication_in_recovery',
]);

export const alertsOf = (release: Release): AlertRule[] =>
  ofKind(release, 'PrometheusRule').flatMap((manifest) =>
    listAt(manifest, 'spec', 'groups').flatMap((group) =>
      listAt(group, 'rules').map((rule) => ({
        alert: textAt(rule, 'alert') ?? '',
        expr: textAt(rule, 'expr') ?? '',
        severity: textAt(rule, 'labels', 'severity') ?? '',
        summary: textAt(rule, 'annotations', 'summary') ?? '',
        runbookUrl: textAt(rule, 'annotations', 'runbook_url'),
      })),
    ),
  );

/** The rules as promtool and Prometheus read them from a file; JSON is YAML. */
export const rulesFile = (release: Release): string => JSON.stringify(objectAt(ofKind(release, 'PrometheusRule')[0], 'spec') ?? {});

/** Metrics that an expression selects: every one of ours is written with its namespace, as `name{…}`. */
export const metricsIn = (expr: string): string[] => [...new Set([...expr.matchAll(/([a-z_:][a-z0-9_:]*)\s*\{/g)].map(([, name = '']) => name))];

/** What is wrong with an alert, in words; empty when nothing is. `exported` as `exportedMetrics` finds it. */
export function problemsOf(rule: AlertRule, exported: ReadonlySet<string>, root: string): string[] {
  const metrics = metricsIn(rule.expr);
  return [
    ...(metrics.length === 0 ? ['selects no metric of this namespace'] : []),
    ...metrics.filter((name) => !exported.has(name) && !PLATFORM_METRICS.has(name)).map((name) => `asks for ${name}, which nothing exports`),
    ...(['page', 'ticket'].includes(rule.severity) ? [] : [`has the severity ${rule.severity || '(none)'}`]),
    ...(rule.summary === '' ? ['does not say what is seen'] : []),
    ...(rule.runbookUrl !== undefined && !existsSync(join(root, rule.runbookUrl)) ? [`links ${rule.runbookUrl}, which does not exist`] : []),
  ].map((problem) => `${rule.alert} ${problem}`);
}

/** Names of metrics in the services' own sources. A name that is put together (`paymaster_sponsor_${name}_wei`) stands for each key of the table beside it. */
export function exportedMetrics(root: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const path of sourcesBelow(join(root, 'apps')).concat(sourcesBelow(join(root, 'libs')))) {
    const text = readFileSync(path, 'utf8');
    for (const [, name = ''] of text.matchAll(/name: '((?:settlement|paymaster|gateway|screening)_[a-z0-9_]+)'/g)) found.add(name);
    for (const [, before = '', after = ''] of text.matchAll(/name: `([a-z_]+)\$\{name\}([a-z_]*)`/g)) {
      const table = /const [A-Z]+ = \{([^}]*)\} as const/.exec(text)?.[1] ?? '';
      for (const [, key = ''] of table.matchAll(/^\s*([a-z]+):/gm)) found.add(`${before}${key}${after}`);
    }
  }
  return found;
}

function sourcesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return ['node_modules', 'generated'].includes(entry.name) ? [] : sourcesBelow(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.spec.ts') ? [path] : [];
  });
}

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promtool } from '@settlement/cluster/promtool';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { repositoryRoot } from '@settlement/config/repository-root';
import { alertsOf, exportedMetrics, metricsIn, problemsOf, rulesFile, type AlertRule } from './alert-rules';
import { CHART, NAMESPACE } from './helm';
import { isObject, textAt, type Json, type Release } from './manifests';
import { helmMissing, releases } from './rule-suite';

const exported = exportedMetrics(repositoryRoot);

const watched = async (): Promise<Release> => {
  const release = (await releases()).find(({ environment, monitoring }) => environment === 'production' && monitoring);
  if (release === undefined) throw new Error('production with monitoring is not rendered');
  return release;
};

describe.skipIf(helmMissing !== undefined)('the alerts', () => {
  it('ask for metrics that something exports, say what is seen, and link runbooks that exist', async () => {
    const rules = alertsOf(await watched());
    expect(rules.length).toBeGreaterThan(20);
    expect(rules.flatMap((rule) => problemsOf(rule, exported, repositoryRoot))).toEqual([]);
  });

  const sound: AlertRule = { alert: 'A', expr: `max(settlement_feed_lag_seconds{namespace="x"}) > 1`, severity: 'page', summary: 'something', runbookUrl: undefined };
  it.each<[string, Partial<AlertRule>, RegExp]>([
    ['a metric that was renamed', { expr: 'settlement_lag{namespace="x"} > 1' }, /asks for settlement_lag, which nothing exports/],
    ['a constant', { expr: 'vector(1)' }, /selects no metric/],
    ['no severity', { severity: '' }, /has the severity/],
    ['no summary', { summary: '' }, /does not say what is seen/],
    ['a runbook that is gone', { runbookUrl: 'docs/runbooks/gone.md' }, /does not exist/],
  ])('are found out by %s', (_what, change, found) => {
    expect(problemsOf(sound, exported, repositoryRoot)).toEqual([]);
    expect(problemsOf({ ...sound, ...change }, exported, repositoryRoot).join('\n')).toMatch(found);
  });

  it('and scaling know backlogs that the services export', () => {
    const topology: unknown = parse(readFileSync(join(CHART, 'files/topology.yaml'), 'utf8'));
    const names = isObject(topology as Json) ? Object.values(topology as Record<string, Json>).flatMap((service) => textAt(service, 'backlog', 'metric') ?? []) : [];
    expect(names).toHaveLength(4);
    expect(names.filter((name) => !exported.has(name))).toEqual([]);
  });

  it('reads metrics as expressions select them', () => {
    expect(metricsIn('max by (a) (one{x="y"}) / two{z="w"} > 3')).toEqual(['one', 'two']);
  });
});

const checker = await promtool((why) => process.stderr.write(`
!!! EXPRESSIONS OF ALERTS NOT CHECKED: ${why}

`));

describe.skipIf(checker === undefined || helmMissing !== undefined)('the alerts in Prometheus', () => {
  const up = (job: string, values: string): object => ({ series: `up{namespace="${NAMESPACE}",job="settlement-${job}",pod="${job}-1"}`, values });
  const one = (series: string, values = '1x30'): object => ({ series: series.replace('{', `{namespace="${NAMESPACE}",`), values });

  /** promtool's own unit tests: what was seen, and when which alert fires with which labels. */
  const cases = [
    { alertname: 'SettlementServiceDown', at: '6m', series: [up('gateway', '1x4 0x30'), ...['relayer', 'paymaster', 'batch-settlement', 'compliance-screening'].map((job) => up(job, '1x40'))], labels: { severity: 'page', component: 'gateway' } },
    { alertname: 'SettlementLaneQuarantined', at: '3m', series: [one('settlement_relayer_lane_quarantined{chain="eip155:1",key="0xa",reason="STUCK"}')], labels: { severity: 'page', namespace: NAMESPACE, chain: 'eip155:1', key: '0xa', reason: 'STUCK' } },
    {
      alertname: 'SettlementSponsorBudgetLow',
      at: '8m',
      // Two replicas say the same: one alert, of the sponsor.
      series: ['p1', 'p2'].flatMap((pod) => [one(`paymaster_sponsor_available_wei{pod="${pod}",sponsor="spo_a"}`, '10x30'), one(`paymaster_sponsor_budget_wei{pod="${pod}",sponsor="spo_a"}`, '100x30')]),
      labels: { severity: 'ticket', namespace: NAMESPACE, sponsor: 'spo_a' },
    },
    { alertname: 'SettlementConsumerLag', at: '5m', series: [one('settlement_feed_lag_seconds{service="gateway",source="relayer",consumer="c",partition="0"}', '90x30')], labels: { severity: 'page', namespace: NAMESPACE, service: 'gateway', source: 'relayer', consumer: 'c' } },
    { alertname: 'SettlementPostgresStandbyMissing', at: '3m', series: [one('cnpg_pg_replication_in_recovery{pod="postgres-1"}', '0x30')], labels: { severity: 'page' } },
  ];

  const run = (rules: string, tests: object | undefined): { status: number | null; output: string } => {
    const folder = mkdtempSync(join(tmpdir(), 'settlement-rules-'));
    try {
      writeFileSync(join(folder, 'rules.yaml'), rules);
      if (tests !== undefined) writeFileSync(join(folder, 'tests.yaml'), JSON.stringify(tests));
      const { status, stdout, stderr } = spawnSync(checker ?? '', tests === undefined ? ['check', 'rules', 'rules.yaml'] : ['test', 'rules', 'tests.yaml'], { cwd: folder, encoding: 'utf8' });
      return { status, output: `${stdout}${stderr}` };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };

  it('parse', async () => {
    const rules = rulesFile(await watched());
    expect(run(rules, undefined)).toMatchObject({ status: 0, output: expect.stringMatching(/SUCCESS: \d+ rules found/) });
    expect(run(rules.replace('max by', 'max bye'), undefined).status).not.toBe(0);
  });

  it.each(cases)('$alertname fires when it is seen, and not before', async ({ alertname, at, series, labels }) => {
    const release = await watched();
    // Without annotations, which promtool compares word for word.
    const rules = rulesFile(release).replaceAll(/,"annotations":\{[^{}]*(?:\{\{[^{}]*\}\}[^{}]*)*\}/g, '');
    expect(rules).not.toContain('annotations');
    const test = (time: string, expected: readonly object[]): object => ({
      rule_files: ['rules.yaml'],
      evaluation_interval: '30s',
      tests: [{ interval: '30s', input_series: series, alert_rule_test: [{ eval_time: time, alertname, exp_alerts: expected }] }],
    });
    expect(run(rules, test(at, [{ exp_labels: labels }]))).toMatchObject({ status: 0 });
    expect(run(rules, test('30s', []))).toMatchObject({ status: 0 });
    expect(run(rules, test(at, []))).not.toMatchObject({ status: 0 });
  });
});

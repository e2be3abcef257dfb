import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promtool } from '@settlement/cluster/promtool';
import { describe, expect, it } from 'vitest';
import { repositoryRoot } from '@settlement/config/repository-root';
import { ofKind, objectAt } from '../manifests';
import { offeredMetrics } from '../offered-metrics';
import { helmMissing, releases, ruleSuite } from '../rule-suite';
import { alertRules, seriesOf } from './alert-rules.policy';

const metrics = await offeredMetrics();
const rules = alertRules({ metrics, exists: (path) => existsSync(join(repositoryRoot, path.replace(/#.*$/, ''))) });
const watched = { where: ({ monitoring }: { readonly monitoring: boolean }): boolean => monitoring };
const scaled = { where: ({ keda, environment }: { readonly keda: boolean; readonly environment: string }): boolean => keda && environment === 'production' };
const rule = ['spec', 'groups', 0, 'rules', 0] as const;

ruleSuite(rules, [
  { what: 'a series that nothing offers', ...watched, plant: (release) => release.set('PrometheusRule', [...rule, 'expr'], 'rate(settlement_paymets_total{a="b"}[5m]) > 0'), found: /asks for settlement_paymets_total, which nothing offers/ },
  { what: 'no severity', ...watched, plant: (release) => release.set('PrometheusRule', [...rule, 'labels'], { severity: 'loud' }), found: /severity: is neither page nor ticket/ },
  { what: 'an alert on one bad scrape', ...watched, plant: (release) => { release.set('PrometheusRule', [...rule, 'expr'], 'up == 0'); release.set('PrometheusRule', [...rule, 'for'], undefined); }, found: /for: is missing/ },
  { what: 'an alert without words', ...watched, plant: (release) => release.set('PrometheusRule', [...rule, 'annotations'], { description: 'x' }), found: /summary: is missing/ },
  { what: 'a runbook that is not there', ...watched, plant: (release) => release.set('PrometheusRule', [...rule, 'annotations', 'runbook_url'], 'docs/runbooks/nothing.md'), found: /is docs\/runbooks\/nothing\.md, which is not there/ },
  { what: 'a scaler that asks for nothing', ...scaled, plant: (release) => release.set('ScaledObject', ['spec', 'triggers', 0, 'metadata', 'query'], 'sum(settlement_backlog_of_nothing)'), found: /asks for settlement_backlog_of_nothing/ },
]);

describe('series of an expression', () => {
  it.each([
    ['sum by (job) (rate(a_total{x="b_total{"}[5m])) / on (job) group_left c > 1e3', ['a_total', 'c']],
    ['absent(up{job="x"} == 1) or vector(0)', ['up']],
    ['histogram_quantile(0.99, sum by (le) (rate(d_bucket[5m]))) > 0.5', ['d_bucket']],
  ])('%s', (expression, expected) => {
    expect(seriesOf(expression)).toEqual(expected);
  });
});

const checker = await promtool((why) => process.stderr.write(`
!!! EXPRESSIONS OF ALERTS NOT CHECKED: ${why}

`));

describe.skipIf(helmMissing !== undefined || checker === undefined)('promtool', () => {
  it('parses the rules of every overlay and refuses a broken expression', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'settlement-promtool-'));
    try {
      const check = (name: string, document: unknown): number => {
        writeFileSync(join(folder, name), JSON.stringify(document));
        return spawnSync(checker ?? '', ['check', 'rules', join(folder, name)]).status ?? -1;
      };
      for (const [index, release] of (await releases()).entries()) {
        for (const manifest of ofKind(release, 'PrometheusRule')) {
          writeFileSync(join(folder, `${index}.json`), JSON.stringify(objectAt(manifest, 'spec')));
          execFileSync(checker ?? '', ['check', 'rules', join(folder, `${index}.json`)]);
        }
      }
      expect(check('broken.json', { groups: [{ name: 'a', rules: [{ alert: 'A', expr: 'sum(up' }] }] })).not.toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

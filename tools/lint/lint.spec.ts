import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ESLint } from 'eslint';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const fixtures = join(import.meta.dirname, 'fixtures');

/** Need a program around the file, which a fixture has not; the rules under test here do not. */
const typeAware = ['@typescript-eslint/no-floating-promises', '@typescript-eslint/no-misused-promises', '@typescript-eslint/switch-exhaustiveness-check', '@typescript-eslint/only-throw-error'];

function brokenBoundaries(fixture: string): string[] {
  const result = spawnSync(
    process.execPath,
    [join(root, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs'), '--config', '.dependency-cruiser.mjs', '--output-type', 'json', `tools/lint/fixtures/${fixture}`],
    { cwd: root, encoding: 'utf8', maxBuffer: 32 << 20 },
  );
  const report: unknown = JSON.parse(result.stdout);
  if (typeof report !== 'object' || report === null || !('summary' in report)) throw new Error(result.stderr);
  const summary = report.summary as { violations: { rule: { name: string } }[] };
  return [...new Set(summary.violations.map((violation) => violation.rule.name))];
}

describe('a planted violation fails its rule', () => {
  it.each([
    ['cycle', 'no-cycles'],
    ['kernel', 'kernel-imports-nothing'],
    ['apps', 'apps-never-import-apps'],
    ['libs', 'libs-never-import-apps'],
    ['vendors', 'vendors-only-in-adapters'],
    ['stand-in', 'product-never-imports-test-code'],
  ])('%s breaks %s', (fixture, rule) => {
    expect(brokenBoundaries(fixture)).toEqual([rule]);
  });

  const eslint = new ESLint({ cwd: root, ignore: false, overrideConfig: { languageOptions: { parserOptions: { projectService: false, project: null } }, rules: Object.fromEntries(typeAware.map((rule) => [rule, 'off'])) } });

  it.each(readdirSync(join(fixtures, 'purity')).map((file) => [file]))('purity refuses %s', async (file) => {
    const [result] = await eslint.lintFiles([join(fixtures, 'purity', file)]);
    expect(result?.messages.map((message) => message.message).join('\n')).toContain('are pure');
  });

  it.each([
    ['swallowed.ts', 'no-restricted-syntax'],
    ['any.ts', '@typescript-eslint/no-explicit-any'],
    ['environment/apps/gateway/src/payment/env.ts', 'no-restricted-properties'],
  ])('%s breaks %s', async (file, rule) => {
    const [result] = await eslint.lintFiles([join(fixtures, 'general', file)]);
    expect(result?.messages.map((message) => message.ruleId)).toContain(rule);
  });
});

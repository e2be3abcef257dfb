import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { pluginDir, terraformEnvironment } from './config';

export const source = join(import.meta.dirname, '..');
export const stacks = ['bootstrap', 'global', 'interconnect', 'region'] as const;
export type Stack = (typeof stacks)[number];
export const environments = ['production', 'drill'] as const;
export type EnvironmentName = (typeof environments)[number];

export interface Resource {
  readonly address: string;
  readonly type: string;
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** One run of a test, planned against mocks: every value is known, those of the cloud are invented. */
export interface Plan {
  readonly run: string;
  readonly resources: readonly Resource[];
  readonly outputs: ReadonlyMap<string, unknown>;
}

export interface Ran {
  readonly code: number;
  readonly output: string;
}

const record = z.record(z.string(), z.unknown());
const planned = z.object({
  '@testrun': z.string(),
  test_plan: z.object({
    output_changes: z.record(z.string(), z.object({ after: z.unknown().optional() })).default({}),
    resource_changes: z.array(z.object({ address: z.string(), mode: z.string(), type: z.string(), name: z.string(), change: z.object({ after: record.nullable() }) })).default([]), // a run that was refused plans nothing
  }),
});

/** Runs to the end, whatever it says. A time limit, because a provider that cannot start would hang for ever. */
export function terraform(args: readonly string[], cwd: string, timeoutMs = 540_000, environment = terraformEnvironment()): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn('terraform', args, { cwd, env: environment, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, output: Buffer.concat(chunks).toString('utf8') }));
  });
}

/** Why Terraform cannot be asked here, or undefined if it can. */
export async function terraformMissing(environment = terraformEnvironment()): Promise<string | undefined> {
  try {
    const { code, output } = await terraform(['version'], tmpdir(), 120_000, environment);
    return code === 0 ? undefined : `terraform version failed: ${output}`;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'no terraform in PATH';
    throw error;
  }
}

export interface Workspace {
  readonly folder: string;
  /** Why the provider could not be had, or undefined. */
  readonly unavailable: string | undefined;
  stack(stack: Stack): string;
  remove(): void;
}

/** A copy outside the repository, with every stack initialised, so that nothing of Terraform's own lands in the work tree. */
export async function initialisedCopy(): Promise<Workspace> {
  const folder = mkdtempSync(join(tmpdir(), 'settlement-terraform-'));
  cpSync(source, folder, { recursive: true, filter: (path) => !['.terraform', 'checks', '.terraform.lock.hcl'].includes(basename(path)) });
  const workspace: Omit<Workspace, 'unavailable'> = { folder, stack: (stack) => join(folder, 'stacks', stack), remove: () => rmSync(folder, { recursive: true, force: true }) };
  const mirror = pluginDir();
  const [first, ...others] = stacks;
  // Without a mirror the registry is asked, briefly: a machine without network must not wait for it.
  const { code, output } = await terraform(
    ['init', '-backend=false', '-input=false', ...(mirror === undefined ? [] : [`-plugin-dir=${mirror}`])], workspace.stack(first), mirror === undefined ? 60_000 : 540_000,
  );
  if (code !== 0 && mirror === undefined) return { ...workspace, unavailable: 'no mirror of the provider, and the registry did not answer (SETTLEMENT_TERRAFORM_PLUGIN_DIR names a mirror)' };
  const failed = (stack: Stack, what: string): never => {
    workspace.remove();
    throw new Error(`terraform could not prepare ${stack}:\n${what}`);
  };
  if (code !== 0) failed(first, output);
  // All stacks pin one version of one provider, so one lock and one digest over its 700 MB serve all; a stack that asked for another
  // version would be refused by the lock. Modules are each stack's own.
  for (const stack of others) {
    const got = await terraform(['get'], workspace.stack(stack));
    if (got.code !== 0) failed(stack, got.output);
    cpSync(join(workspace.stack(first), '.terraform.lock.hcl'), join(workspace.stack(stack), '.terraform.lock.hcl'));
    symlinkSync(join(workspace.stack(first), '.terraform/providers'), join(workspace.stack(stack), '.terraform/providers'));
  }
  return { ...workspace, unavailable: undefined };
}

const variableFiles: Readonly<Record<Stack, readonly string[]>> = {
  bootstrap: [],
  global: ['plan', 'global'],
  interconnect: ['plan'],
  region: ['plan', 'region'],
};

export const variableArguments = (stack: Stack, environment: EnvironmentName): string[] =>
  variableFiles[stack].map((file) => `-var-file=../../environments/${environment}/${file}.tfvars`);

/** `terraform test` of the named files; the output says which run failed and why. */
export const test = (workspace: Workspace, stack: Stack, environment: EnvironmentName, files: readonly string[]): Promise<Ran> =>
  terraform(['test', ...files.map((file) => `-filter=tests/${file}.tftest.hcl`), ...variableArguments(stack, environment)], workspace.stack(stack));

/** The same, with what each run planned. The provider's schema, which comes with every plan and is 15 MB, is dropped at once. */
export async function testAndPlan(workspace: Workspace, stack: Stack, environment: EnvironmentName, file: string): Promise<Ran & { readonly plans: readonly Plan[] }> {
  const { code, output } = await terraform(['test', '-json', '-verbose', `-filter=tests/${file}.tftest.hcl`, ...variableArguments(stack, environment)], workspace.stack(stack));
  const lines = output.split('\n');
  const plans = lines
    .filter((line) => line.includes('"test_plan":'))
    .map((line) => planned.parse(JSON.parse(line)))
    .map((plan) => ({
      run: plan['@testrun'],
      resources: plan.test_plan.resource_changes.flatMap(({ address, mode, type, name, change }) => (mode === 'managed' && change.after !== null ? [{ address, type, name, values: change.after }] : [])),
      outputs: new Map(Object.entries(plan.test_plan.output_changes).map(([name, { after }]) => [name, after])),
    }));
  return { code, output: lines.filter((line) => line.includes('"type":"diagnostic"') || line.includes('"type":"test_run"')).join('\n'), plans };
}

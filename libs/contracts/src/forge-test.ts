import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { compileContracts } from './compile';

export interface ForgeResult {
  readonly passed: number;
  readonly failed: number;
  /** Fuzzed and invariant inputs that were tried, beside the tests themselves. */
  readonly runs: number;
  /** Suite, test and reason of each, ready to print. */
  readonly failures: readonly string[];
}

interface ForgeSuites {
  readonly [suite: string]: {
    readonly test_results: {
      readonly [test: string]: {
        readonly status: string;
        readonly reason: string | null;
        readonly kind?: { readonly Fuzz?: { readonly runs: number }; readonly Invariant?: { readonly runs: number; readonly calls: number } };
      };
    };
  };
}

const here = join(repositoryRoot, 'libs/contracts');
const artifacts = join(here, 'out/artifacts');

/** Where the tests put USDC's signature library (VaultTest.sol has the same address). */
const SIGNATURE_CHECKER = '5167000000000000000000000000000000005167';

function linkUsdcForTests(): void {
  const { abi, bytecode } = JSON.parse(readFileSync(join(artifacts, 'FiatTokenV2_2.json'), 'utf8')) as {
    abi: unknown;
    bytecode: { object: string; linkReferences: Record<string, Record<string, { start: number; length: number }[]>> };
  };
  let code = bytecode.object;
  for (const { start, length } of Object.values(bytecode.linkReferences).flatMap((libraries) => Object.values(libraries).flat())) {
    code = code.slice(0, 2 + start * 2) + SIGNATURE_CHECKER + code.slice(2 + (start + length) * 2);
  }
  mkdirSync(artifacts, { recursive: true });
  writeFileSync(join(artifacts, 'FiatTokenV2_2.linked.json'), JSON.stringify({ abi, bytecode: { object: code } }));
}

/** Runs every Solidity test with npm's forge and npm's solc; needs no network. `only` narrows to test names that match. */
export async function runForgeTests(only?: string): Promise<ForgeResult> {
  compileContracts();
  linkUsdcForTests();
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const require = createRequire(join(repositoryRoot, 'package.json'));
  const forge = join(dirname(require.resolve(`@foundry-rs/forge-${process.platform}-${arch}/package.json`)), 'bin/forge');
  const args = ['test', '--root', here, '--use', join(here, 'src/solc-standard-json.mjs'), '--offline', '--json', '--allow-failure', ...(only === undefined ? [] : ['--match-test', only])];
  const child = spawn(forge, args, {
    cwd: here,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${join(repositoryRoot, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`, HOME: join(here, 'cache'), FOUNDRY_DISABLE_NIGHTLY_WARNING: '1' },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  process.off('exit', kill);
  const start = stdout.indexOf('{');
  if (start < 0) throw new Error(`forge answered no JSON (exit code ${String(code)}):\n${stdout}\n${stderr}`);
  const suites = JSON.parse(stdout.slice(start)) as ForgeSuites;
  let passed = 0;
  let runs = 0;
  const failures: string[] = [];
  for (const [suite, { test_results }] of Object.entries(suites)) {
    for (const [test, { status, reason, kind }] of Object.entries(test_results)) {
      runs += kind?.Fuzz?.runs ?? kind?.Invariant?.calls ?? 0;
      if (status === 'Success') passed += 1;
      else failures.push(`${suite} ${test}: ${reason ?? status}`);
    }
  }
  return { passed, failed: failures.length, runs, failures };
}

if (/libs-contracts-src-forge-test\.mjs$/.test(process.argv[1] ?? '')) {
  const started = Date.now();
  const result = await runForgeTests(process.argv[2]);
  for (const failure of result.failures) process.stderr.write(`✗ ${failure}\n`);
  process.stderr.write(`forge: ${result.passed} passed, ${result.failed} failed, ${result.runs} fuzzed inputs and calls, ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = result.failed === 0 ? 0 : 1;
}

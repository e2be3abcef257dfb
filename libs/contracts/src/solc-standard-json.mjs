#!/usr/bin/env node
// npm's solc (WebAssembly) behind the command line that forge expects of a native compiler.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute, resolve } from 'node:path';

const solc = createRequire(import.meta.url)('solc');
const args = process.argv.slice(2);

if (args.includes('--version')) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (args.includes('--standard-json')) {
  const base = args.includes('--base-path') ? args[args.indexOf('--base-path') + 1] : process.cwd();
  const output = solc.compile(readFileSync(0, 'utf8'), {
    import: (path) => {
      const file = isAbsolute(path) ? path : resolve(base, path);
      return existsSync(file) ? { contents: readFileSync(file, 'utf8') } : { error: `no such file: ${file}` };
    },
  });
  process.stdout.write(output);
} else {
  process.stderr.write('expected --version or --standard-json\n');
  process.exit(2);
}

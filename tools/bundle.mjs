// Bundles one program: workspace code goes in, npm packages stay imports. Usage: node tools/bundle.mjs ENTRY OUTFILE
// OUTFILE appears whole or not at all: two commands of one clone may bundle the same program while a third reads it.
import { build } from 'esbuild';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { resolve, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const [entry, outfile] = process.argv.slice(2);

const { outputFiles } = await build({
  entryPoints: [entry],
  outfile,
  write: false,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  sourcemap: 'inline',
  sourcesContent: false,
  logLevel: 'error',
  tsconfig: resolve(root, 'tsconfig.base.json'),
  // Where the code asks for files of the repository (migrations, assets): a bundle has no place of its own in the tree.
  define: { 'process.env.SETTLEMENT_ROOT': JSON.stringify(root), 'process.env["SETTLEMENT_ROOT"]': JSON.stringify(root) },
  plugins: [
    {
      name: 'packages-stay-outside',
      setup(b) {
        b.onResolve({ filter: /^[^./]/ }, (args) =>
          args.kind === 'entry-point' || args.path.startsWith('@settlement/') ? undefined : { path: args.path, external: true },
        );
      },
    },
  ],
});

const partial = `${outfile}.${process.pid}`;
mkdirSync(dirname(outfile), { recursive: true });
try {
  writeFileSync(partial, outputFiles[0].contents);
  renameSync(partial, outfile);
} finally {
  rmSync(partial, { force: true });
}

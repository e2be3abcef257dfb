// Bundles one program: workspace code goes in, npm packages stay imports. Usage: node tools/bundle.mjs ENTRY OUTFILE
import { build } from 'esbuild';
import { resolve, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const [entry, outfile] = process.argv.slice(2);

await build({
  entryPoints: [entry],
  outfile,
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

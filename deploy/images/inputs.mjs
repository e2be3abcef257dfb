// What an image of programs.json is made of, as JSON: { IMAGE: { files, packages } }. `files` are those of the repository that get
// into its bundles, `packages` the npm packages beside them. Usage: node deploy/images/inputs.mjs IMAGE...
import { bundle, closure, importedPackages, programsOf } from './assemble.mjs';

const answer = {};
for (const image of process.argv.slice(2)) {
  const { programs, packages } = programsOf(image);
  const metafile = await bundle(programs, '/out', false);
  answer[image] = {
    files: Object.keys(metafile.inputs).sort(),
    packages: closure([...new Set([...importedPackages(metafile), ...packages])]),
  };
}
process.stdout.write(`${JSON.stringify(answer)}\n`);

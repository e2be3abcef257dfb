// Gives each app and library its Nx targets, so that a project needs no configuration of its own beyond package.json and
// tsconfig.json. A root `targetDefaults` alone would not do: it completes targets that a project already has.
import { dirname } from 'node:path';

/** Runs from the repository root: that is where all tool configuration stands. */
function target(command, inputs, more = {}) {
  return { executor: 'nx:run-commands', options: { command, cwd: '{workspaceRoot}' }, cache: true, inputs: ['default', '^default', ...inputs], outputs: [], ...more };
}

function targets(root) {
  return {
    test: target(`vitest run --project unit ${root}/`, ['{workspaceRoot}/vitest.config.ts']),
    // Real databases, brokers and chains: never answered from a cache, and one project at a time.
    int: target(`vitest run --project int ${root}/`, ['{workspaceRoot}/vitest.config.ts'], { cache: false, parallelism: false }),
    typecheck: target(`node node_modules/typescript-7/bin/tsc --noEmit -p ${root}/tsconfig.json`, []),
    lint: target(`eslint --no-warn-ignored --max-warnings 0 ${root} && depcruise --config .dependency-cruiser.mjs --output-type err ${root}`, [
      '{workspaceRoot}/eslint.config.mjs',
      '{workspaceRoot}/.dependency-cruiser.mjs',
    ]),
  };
}

/** The contract between services: checked by buf, used by all. */
const contract = {
  lint: { ...target('buf lint', []), options: { command: 'buf lint', cwd: '{projectRoot}' }, inputs: ['default'] },
};

/** The scripts that keep the repository true read all of it, so nothing of theirs is answered from a cache. */
const keepers = {
  test: { ...target('vitest run --project unit tools/', []), cache: false },
  lint: { ...target('eslint --no-warn-ignored --max-warnings 0 tools', []), cache: false },
};

/** @type {import('@nx/devkit').CreateNodesV2} */
export const createNodesV2 = [
  '{{apps,libs}/*/package.json,proto/package.json,tools/run.mjs}',
  (files) =>
    files.map((file) => {
      const root = dirname(file);
      switch (root) {
        case 'proto':
          return [file, { projects: { [root]: { targets: contract } } }];
        case 'tools':
          return [file, { projects: { [root]: { name: 'tools', tags: ['layer:tools'], targets: keepers } } }];
        default:
          return [file, { projects: { [root]: { targets: targets(root) } } }];
      }
    }),
];

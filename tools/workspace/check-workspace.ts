import { z } from 'zod';

/** Files of the repository with their text; only those that are asked for are read. */
export interface WorkspaceFiles {
  readonly paths: readonly string[];
  read(path: string): string;
}

/** Files that a tool demands beside the code it works on, with the tool. */
const demanded: Readonly<Record<string, string>> = { 'libs/contracts/foundry.toml': 'forge looks for it in its project folder' };

const rootPackage = z.object({ dependencies: z.record(z.string(), z.string()), devDependencies: z.record(z.string(), z.string()) });
const projectPackage = z.strictObject({
  name: z.string(),
  version: z.string(),
  private: z.literal(true),
  license: z.literal('Apache-2.0'),
  type: z.literal('module'),
  exports: z.strictObject({ './*': z.string().startsWith('./') }),
  nx: z.strictObject({ tags: z.tuple([z.string()]) }),
});

const layers: Readonly<Record<string, readonly string[]>> = { apps: ['layer:app'], libs: ['layer:kernel', 'layer:infrastructure', 'layer:tooling', 'layer:testing'], proto: ['layer:contract'] };

/** Every place where the workspace leaves its layout: two files a project, all else configured and depended upon at the root. */
export function checkWorkspace({ paths, read }: WorkspaceFiles): string[] {
  const findings: string[] = [];
  for (const path of paths) {
    const [, area = '', rest = ''] = /^(apps|libs)\/[^/]+\/(.+)$/.exec(path) ?? [];
    if (area !== '' && !rest.includes('/') && rest !== 'package.json' && rest !== 'tsconfig.json' && demanded[path] === undefined) {
      findings.push(`${path}: a project has package.json and tsconfig.json; everything else is configured at the root`);
    }
    if (/^(?:apps|libs)\/.*\/index\.ts$/.test(path)) findings.push(`${path}: no barrels; a package exposes its files`);
    if (/^(?:apps|libs)\/[^/]+\/src\/(?:.*\/)?(?:utils?|common|shared|helpers?)(?:\/|\.ts$)/.test(path)) findings.push(`${path}: a name that says nothing`);
  }
  for (const path of paths.filter((each) => /^(?:(?:apps|libs)\/[^/]+|proto)\/package\.json$/.test(each))) {
    const folder = path.replace('/package.json', '');
    const parsed = projectPackage.safeParse(JSON.parse(read(path)));
    if (!parsed.success) {
      findings.push(...parsed.error.issues.map((issue) => `${path}: ${[...issue.path, issue.message].join(' ')}`));
      continue;
    }
    const { name, nx } = parsed.data;
    if (name !== `@settlement/${folder.split('/').at(-1) ?? ''}`) findings.push(`${path}: is called ${name}`);
    const allowed = layers[folder.split('/')[0] ?? ''] ?? [];
    if (!allowed.includes(nx.tags[0])) findings.push(`${path}: has the tag ${nx.tags[0]} instead of one of ${allowed.join(', ')}`);
    if (!paths.includes(`${folder}/tsconfig.json`)) findings.push(`${folder}: has no tsconfig.json`);
  }
  const { dependencies, devDependencies } = rootPackage.parse(JSON.parse(read('package.json')));
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    if (!/^(?:npm:.+@)?\d+\.\d+\.\d+[-.\w]*$/.test(version)) findings.push(`package.json: ${name} is not pinned to one version: ${version}`);
  }
  return findings;
}

// Lays out what images hold: /app with the bundled programs and the npm packages that they reach, and the bill of materials.
// Runs in the builder stage of the Dockerfile on plain Node. ROOT is the file system of the runtime base, for its package list.
//   node deploy/images/assemble.mjs IMAGE OUT [--runtime ROOT]     one image: OUT/app
//   node deploy/images/assemble.mjs --all OUT [--runtime ROOT]     every image, a folder a layer: OUT/IMAGE/{packages,programs}/app
// The same commit gives the same bytes: nothing here reads a clock, and names are walked in order.
import { build } from 'esbuild';
import { chmodSync, cpSync, existsSync, linkSync, lstatSync, lutimesSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cycloneDx } from './sbom.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const json = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** Programs of an image by name: entry point relative to the repository. */
export function programsOf(image) {
  const { common, images } = json(join(root, 'deploy/images/programs.json'));
  const found = images[image];
  if (found === undefined) throw new Error(`no image ${image}: deploy/images/programs.json has ${Object.keys(images).join(', ')}`);
  return { ...found, programs: { ...found.programs, ...(found.commonPrograms === false ? {} : common) } };
}

/** Workspace code goes in, npm packages stay imports. Answers esbuild's metafile. */
export async function bundle(programs, outdir, write = true) {
  const { metafile, outputFiles } = await build({
    entryPoints: Object.entries(programs).map(([out, entry]) => ({ out, in: join(root, entry) })),
    // Not where it is written to: maps name their sources from here, and must be the same wherever an image is laid out.
    outdir: join(root, 'app'),
    outExtension: { '.js': '.mjs' },
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'error',
    tsconfig: join(root, 'tsconfig.base.json'),
    define: { 'process.env.SETTLEMENT_ROOT': '"/app"', 'process.env["SETTLEMENT_ROOT"]': '"/app"' },
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
  if (write) {
    mkdirSync(outdir, { recursive: true });
    for (const { path, contents } of outputFiles) writeFileSync(join(outdir, relative(join(root, 'app'), path)), contents);
  }
  return metafile;
}

/** Names of npm packages that the bundled code imports. */
export function importedPackages(metafile) {
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  const names = imports
    .filter(({ external, path }) => external && !path.startsWith('node:'))
    .map(({ path }) => path.split('/').slice(0, path.startsWith('@') ? 2 : 1).join('/'));
  return [...new Set(names)].sort();
}

/** Folder of a package as Node finds it from `from`; undefined when it is not installed. */
function locate(name, from) {
  for (let at = from; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (at === root || at === dirname(at)) return undefined;
  }
}

/** These packages and all that they need to run, as folders below the repository, in order. Throws when a required one is absent. */
export function closure(names) {
  const folders = new Set();
  const visit = (name, from, required) => {
    // Types are gone by run time; some packages count them among what they need.
    if (name.startsWith('@types/')) return;
    const folder = locate(name, from);
    if (folder === undefined) {
      if (required) throw new Error(`${name}, which ${relative(root, from) || 'the repository'} needs, is not installed`);
      return;
    }
    if (folders.has(folder)) return;
    folders.add(folder);
    const { dependencies = {}, optionalDependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = json(join(folder, 'package.json'));
    for (const each of Object.keys(dependencies)) visit(each, folder, !(each in optionalDependencies));
    for (const each of Object.keys(optionalDependencies)) visit(each, folder, false);
    // An optional peer that is installed for something else is not this image's: Nest lists all its transports so.
    for (const each of Object.keys(peerDependencies)) if (peerDependenciesMeta[each]?.optional !== true) visit(each, folder, true);
  };
  for (const name of names) visit(name, root, true);
  return [...folders].map((folder) => relative(root, folder)).sort();
}

/** Throws when one of these packages is in the lock file for development only. */
export function refuseDevelopment(image, folders, lock) {
  const strangers = folders.filter((folder) => lock.packages[folder]?.dev === true);
  if (strangers.length > 0) throw new Error(`${image} would hold packages that are for development only: ${strangers.join(', ')}`);
}

/** Nothing that a program never reads: types and their sources (Node strips no types below node_modules), maps, other machines' binaries, sources of native code. */
const needless = (path) =>
  /\.([cm]?ts|map|md|markdown|flow|tsbuildinfo)$/i.test(path)
  || /\/prebuilds\/(?!linux-)[^/]+$/.test(path)
  || /\/secp256k1\/src$/.test(path)
  || /\/node_modules\/\.[^/]+$/.test(path);

function copyPackages(folders, app) {
  for (const folder of folders) {
    // Another image of the same run has copied it.
    if (existsSync(join(app, folder, 'package.json'))) continue;
    cpSync(join(root, folder), join(app, folder), {
      recursive: true,
      dereference: false,
      // Nested packages come by themselves when something needs them.
      filter: (source) => source === join(root, folder) || (!needless(source) && !/\/node_modules$/.test(source)),
    });
  }
}

/** The same tree with the same files, which take no more room: images share most packages. */
function linkPackages(folders, from, to) {
  const link = (path) => {
    mkdirSync(join(to, path), { recursive: true });
    for (const entry of readdirSync(join(from, path), { withFileTypes: true })) {
      const each = join(path, entry.name);
      if (entry.isDirectory()) {
        if (entry.name !== 'node_modules') link(each);
      } else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(join(from, each)), join(to, each));
      else linkSync(join(from, each), join(to, each));
    }
  };
  for (const folder of folders) link(folder);
}

/** One time stamp, one mode for files and one for programs and folders: whoever builds, the layer is the same. */
function normalise(path, epochSeconds) {
  const status = lstatSync(path);
  if (status.isDirectory()) for (const name of readdirSync(path).sort()) normalise(join(path, name), epochSeconds);
  if (!status.isSymbolicLink()) chmodSync(path, status.isDirectory() || (status.mode & 0o100) !== 0 ? 0o755 : 0o644);
  lutimesSync(path, epochSeconds, epochSeconds);
}

/** `store`: a folder where packages are copied to once and linked from. */
export async function assemble(image, out, { runtimeRoot, epochSeconds = 0, store } = {}) {
  const { programs, packages, title, testsOnly } = programsOf(image);
  const app = join(out, 'app');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(app, { recursive: true });
  const metafile = await bundle(programs, app);
  const folders = closure([...new Set([...importedPackages(metafile), ...packages])]);
  const lock = json(join(root, 'package-lock.json'));
  if (testsOnly !== true) refuseDevelopment(image, folders, lock);
  copyPackages(folders, store ?? app);
  if (store !== undefined) linkPackages(folders, store, app);
  const { name, version, license } = json(join(root, 'package.json'));
  writeFileSync(join(app, 'package.json'), `${JSON.stringify({ name: `@settlement/${image}`, version, license, private: true, type: 'module' })}\n`);
  const descriptors = 'proto/gen/descriptors.binpb';
  mkdirSync(join(app, dirname(descriptors)), { recursive: true });
  cpSync(join(root, descriptors), join(app, descriptors));
  cpSync(join(root, 'LICENSE'), join(app, 'LICENSE'));
  const bill = cycloneDx({ image, title, product: name, version, license, lock, root, folders, runtimeRoot, epochSeconds });
  writeFileSync(join(app, 'sbom.cdx.json'), `${JSON.stringify(bill, undefined, 1)}\n`);
  return { folders, components: bill.components.length };
}

/** Every image below `out`, as the layers that the Dockerfile copies. `epochs`: image=SECONDS,… for the bills of materials. */
export async function assembleAll(out, { runtimeRoot, epochs = '' } = {}) {
  const seconds = new Map(epochs.split(',').filter((each) => each !== '').map((each) => each.split('=')));
  const store = join(out, '.packages');
  for (const image of Object.keys(json(join(root, 'deploy/images/programs.json')).images)) {
    const programs = join(out, image, 'programs');
    const { folders, components } = await assemble(image, programs, { runtimeRoot, store, epochSeconds: Number(seconds.get(image) ?? '0') });
    mkdirSync(join(out, image, 'packages/app'), { recursive: true });
    renameSync(join(programs, 'app/node_modules'), join(out, image, 'packages/app/node_modules'));
    // Linked files have one time for all images. An engine that is given the commit's time sets that for whole layers.
    normalise(join(out, image), 0);
    console.log(`${image}: ${folders.length} npm packages, ${components} components in the bill of materials`);
  }
  rmSync(store, { recursive: true, force: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [image, out, ...rest] = process.argv.slice(2);
  if (image === undefined || out === undefined) throw new Error('usage: node deploy/images/assemble.mjs IMAGE|--all OUT [--runtime ROOT]');
  const runtimeRoot = rest[0] === '--runtime' ? rest[1] : undefined;
  if (image === '--all') await assembleAll(out, { runtimeRoot, epochs: process.env.EPOCHS });
  else {
    const epochSeconds = Number(process.env.SOURCE_DATE_EPOCH ?? '0');
    const { folders, components } = await assemble(image, out, { runtimeRoot, epochSeconds });
    normalise(join(out, 'app'), epochSeconds);
    console.log(`${image}: ${folders.length} npm packages, ${components} components in the bill of materials`);
  }
}

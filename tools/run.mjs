// The one door to every command: prepares the clone (packages, generated code), then runs a TypeScript program on the
// Node 24 that comes from npm. This file alone must run on Node 20 without any package.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync, openSync, closeSync, unlinkSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const bin = join(root, 'node_modules', '.bin');
const cache = join(root, 'node_modules', '.cache', 'settlement');

/** Command name → TypeScript program. What is absent here is not a command. */
const programs = {
  demo: 'apps/sandbox/src/demo.ts',
  start: 'apps/sandbox/src/start.ts',
  pay: 'apps/sandbox/src/pay.ts',
  events: 'libs/event-store/src/cli/events.ts',
  feed: 'libs/feed/src/cli/feed.ts',
  lanes: 'apps/relayer/src/cli/lanes.ts',
  sponsor: 'apps/paymaster/src/cli/sponsor.ts',
  simulate: 'apps/relayer/simulation/run.ts',
  images: 'libs/cluster/src/cli/images.ts',
  cluster: 'apps/sandbox/src/cluster/cluster.ts',
  'test:cluster': 'apps/sandbox/cluster-proof/run.ts',
  bench: 'tools/bench.ts',
  test: 'tools/test.ts',
  lint: 'tools/lint-command.ts',
  typecheck: 'tools/typecheck-command.ts',
};

const say = (text) => process.stderr.write(`${text}\n`);

function digest(paths) {
  const hash = createHash('sha256');
  for (const path of paths) {
    hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
  }
  return hash.digest('hex');
}

function filesBelow(dir, wanted) {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) return ['node_modules', 'gen', 'generated', 'out', 'cache'].includes(entry.name) ? [] : filesBelow(path, wanted);
      return wanted(entry.name) ? [path] : [];
    });
}

function stampOf(name) {
  const path = join(cache, `${name}.stamp`);
  return { path, read: () => (existsSync(path) ? readFileSync(path, 'utf8') : ''), write: (value) => { mkdirSync(cache, { recursive: true }); writeFileSync(path, value); } };
}

function step(title, command, args, options = {}) {
  const started = Date.now();
  say(`· ${title} …`);
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', maxBuffer: 64 << 20, ...options });
  if (result.status !== 0) {
    say(result.stdout ?? '');
    say(result.stderr ?? '');
    say(`✗ ${title} failed${result.error ? `: ${result.error.message}` : ` with exit code ${result.status ?? result.signal}`}`);
    process.exit(1);
  }
  say(`✓ ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

const environment = () => ({ ...process.env, PATH: `${bin}:${process.env.PATH ?? ''}`, NX_DAEMON: 'false', NO_UPDATE_NOTIFIER: '1' });

/** Waits while another command of this clone prepares it: two `npm run` at once must not install over each other. */
function locked(work) {
  const lock = join(root, '.setup.lock');
  const waitUntil = Date.now() + 10 * 60_000;
  for (;;) {
    try {
      const handle = openSync(lock, 'wx');
      writeFileSync(handle, String(process.pid));
      closeSync(handle);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = Number(readFileSync(lock, 'utf8') || '0');
      const alive = owner > 0 && (() => { try { process.kill(owner, 0); return true; } catch { return false; } })();
      const fresh = Date.now() - statSync(lock).mtimeMs < 2_000;
      if (!alive && !fresh) { try { unlinkSync(lock); } catch { /* another waiter was quicker; the next round decides */ } continue; }
      if (Date.now() > waitUntil) { say(`✗ another set-up holds ${lock}; delete the file if none is running`); process.exit(1); }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
  const unlock = () => { try { unlinkSync(lock); } catch { /* already gone */ } };
  process.on('exit', unlock);
  try { return work(); } finally { unlock(); }
}

function setup() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20) { say(`✗ Node ${process.versions.node} is too old: install Node 20 or later (the project brings its own Node 24)`); process.exit(1); }
  const packages = stampOf('packages');
  const contracts = stampOf('contracts');
  const proto = stampOf('proto');
  const packagesDigest = digest([join(root, 'package-lock.json')]);
  const protoFiles = [...filesBelow(join(root, 'proto'), (n) => n.endsWith('.proto') || n.endsWith('.yaml'))];
  const protoDigest = () => digest(protoFiles);
  const contractFiles = () => [...filesBelow(join(root, 'libs/contracts/solidity'), (n) => n.endsWith('.sol')), join(root, 'libs/contracts/src/compile.ts')].filter(existsSync);
  const stale = () => packages.read() !== packagesDigest || !existsSync(join(bin, 'node')) || proto.read() !== protoDigest() || !existsSync(join(root, 'proto/gen'))
    || contracts.read() !== digest(contractFiles()) || !existsSync(join(root, 'libs/contracts/src/generated'));
  if (!stale()) return;
  locked(() => {
    if (packages.read() !== packagesDigest || !existsSync(join(bin, 'node'))) {
      // `npm ci` empties node_modules first, under the feet of whatever runs from it: only for a clone that has none.
      const how = existsSync(join(root, 'node_modules/.package-lock.json')) ? ['install', '--no-save'] : ['ci'];
      step(`installing packages (npm ${how.join(' ')})`, 'npm', [...how, '--no-audit', '--no-fund', '--loglevel=error']);
      packages.write(packagesDigest);
    }
    if (proto.read() !== protoDigest() || !existsSync(join(root, 'proto/gen'))) {
      step('generating code from proto/', join(bin, 'buf'), ['generate'], { cwd: join(root, 'proto'), env: environment() });
      step('describing proto/ for reflection', join(bin, 'buf'), ['build', '-o', 'gen/descriptors.binpb'], { cwd: join(root, 'proto'), env: environment() });
      proto.write(protoDigest());
    }
    const contractsDigest = digest(contractFiles());
    if (existsSync(join(root, 'libs/contracts/src/compile.ts')) && (contracts.read() !== contractsDigest || !existsSync(join(root, 'libs/contracts/src/generated')))) {
      step('compiling contracts', join(bin, 'node'), [fileURLToPath(import.meta.url), 'exec-prepared', 'libs/contracts/src/compile.ts'], { env: environment() });
      contracts.write(contractsDigest);
    }
  });
}

/** Bundles our own code (packages stay outside) so that decorators and workspace imports work and a start is fast. */
function bundle(entry) {
  const outfile = join(cache, 'bundles', `${relative(root, resolve(root, entry)).replace(/[\\/]/g, '-').replace(/\.ts$/, '')}.mjs`);
  const result = spawnSync(join(bin, 'node'), [join(root, 'tools/bundle.mjs'), resolve(root, entry), outfile], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.status !== 0) process.exit(result.status ?? 1);
  return outfile;
}

/** kafkajs computes a pause that may be negative, which Node 24 corrects and complains about (kafkajs issue 1751). */
const quiet = ['--disable-warning=TimeoutNegativeWarning'];

function run(file, args, nodeArgs = []) {
  child = spawn(join(bin, 'node'), ['--enable-source-maps', ...quiet, ...nodeArgs, file, ...args], { cwd: root, stdio: 'inherit', env: environment() });
  child.on('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + ({ SIGINT: 2, SIGTERM: 15, SIGKILL: 9, SIGHUP: 1 }[signal] ?? 1)));
}

/**
 * The program, once it runs. The terminal sends Ctrl-C to the whole group, a supervisor signals this process alone: either way the
 * program decides when it has ended. A signal during the set-up is heard after the step that it came in, as steps are synchronous.
 */
let child;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (child === undefined) process.exit(130);
    child.kill(signal);
  });
}

const [command, ...args] = process.argv.slice(2);
if (command === 'exec-prepared') {
  run(bundle(args[0]), args.slice(1));
} else if (command === 'exec') {
  if (args[0] === undefined) { say('usage: node tools/run.mjs exec path/to/program.ts [arguments]'); process.exit(2); }
  setup();
  run(bundle(args[0]), args.slice(1));
} else if (command === 'setup') {
  setup();
  say('ready');
} else if (command !== undefined && programs[command] !== undefined) {
  setup();
  run(bundle(programs[command]), args);
} else {
  say(`usage: npm run <${['setup', ...Object.keys(programs)].join('|')}> [-- options]`);
  process.exit(2);
}

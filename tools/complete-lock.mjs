// Adds to package-lock.json the optional packages of other platforms that a partial registry mirror could not answer for,
// so that `npm ci` accepts the lock file everywhere and a Mac gets its own binaries. Run after changing dependencies:
// node tools/complete-lock.mjs
import { readFileSync, writeFileSync } from 'node:fs';

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const os = { darwin: 'darwin', linux: 'linux', win32: 'win32', windows: 'win32', freebsd: 'freebsd', openbsd: 'openbsd', netbsd: 'netbsd', sunos: 'sunos', aix: 'aix', android: 'android', openharmony: 'openharmony' };
const cpu = { x64: 'x64', amd64: 'x64', 'x86_64': 'x64', arm64: 'arm64', aarch64: 'arm64', armv7: 'arm', arm: 'arm', ia32: 'ia32', ppc64: 'ppc64', ppc64le: 'ppc64', s390x: 's390x', riscv64: 'riscv64', loong64: 'loong64', mips64el: 'mips64el' };
const isPlatformPackage = (name) => name.split(/[-/]/).some((word) => os[word] !== undefined) || /wasm32/.test(name);
let added = 0;
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (lock.packages[path] !== undefined || !isPlatformPackage(name) || !/^[0-9]+\.[0-9]+\.[0-9]+[-.0-9a-z]*$/i.test(version)) continue;
    const words = name.split(/[-/@]/);
    const found = { os: words.map((w) => os[w]).find(Boolean), cpu: words.map((w) => cpu[w]).find(Boolean) };
    lock.packages[path] = { version, optional: true, dev: entry.dev === true ? true : undefined, os: found.os && [found.os], cpu: found.cpu && [found.cpu] };
    if (/wasm32/.test(name)) lock.packages[path].cpu = ['wasm32'];
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} platform packages added`);

// The bill of materials (CycloneDX 1.5, ECMA-424) of one image, from what really lies in it: npm packages by folder, Node, and the
// Debian packages of the runtime base. `npm sbom` is no help here: it lists what the lock file could install, not what one service
// was given, and stamps each document with a random number and the time, so that no two builds are equal.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const json = (path) => JSON.parse(readFileSync(path, 'utf8'));

const purlName = (name) => name.split('/').map((part) => encodeURIComponent(part)).join('/');

function licenseOf(license) {
  if (typeof license !== 'string' || license === '') return {};
  // An SPDX expression or a bare identifier; anything else is a name.
  return /^[A-Za-z0-9.+-]+$/.test(license) ? { licenses: [{ license: { [/^(SEE|UNLICENSED)/.test(license) ? 'name' : 'id']: license } }] } : { licenses: [/ (OR|AND|WITH) /.test(license) ? { expression: license } : { license: { name: license } }] };
}

/** `sha512-<base64>` of a lock file as CycloneDX has it. */
function hashesOf(integrity) {
  const match = /^sha(512|256|1)-([A-Za-z0-9+/=]+)/.exec(integrity ?? '');
  if (match === null) return {};
  return { hashes: [{ alg: `SHA-${match[1]}`, content: Buffer.from(match[2], 'base64').toString('hex') }] };
}

function npmComponents({ root, folders, lock }) {
  return folders.map((folder) => {
    const { name, version, license } = json(join(root, folder, 'package.json'));
    const purl = `pkg:npm/${purlName(name)}@${version}`;
    return { type: 'library', 'bom-ref': `${purl}#${folder}`, name, version, purl, scope: 'required', ...licenseOf(license), ...hashesOf(lock.packages[folder]?.integrity) };
  });
}

/** Fields of Debian control paragraphs, which distroless keeps one a file in status.d and Debian all in one. */
function debianParagraphs(runtimeRoot) {
  const folder = join(runtimeRoot, 'var/lib/dpkg/status.d');
  const single = join(runtimeRoot, 'var/lib/dpkg/status');
  const texts = existsSync(folder)
    ? readdirSync(folder).filter((name) => !name.endsWith('.md5sums')).sort().map((name) => readFileSync(join(folder, name), 'utf8'))
    : existsSync(single) ? readFileSync(single, 'utf8').split('\n\n') : [];
  return texts.map((text) => Object.fromEntries([...text.matchAll(/^([A-Za-z-]+): (.*)$/gm)].map(([, key, value]) => [key, value]))).filter(({ Package, Version }) => Package !== undefined && Version !== undefined);
}

export function debianComponents(runtimeRoot) {
  return debianParagraphs(runtimeRoot)
    .map(({ Package, Version, Architecture }) => {
      const purl = `pkg:deb/debian/${encodeURIComponent(Package)}@${encodeURIComponent(Version)}?arch=${Architecture ?? 'all'}`;
      return { type: 'library', 'bom-ref': purl, name: Package, version: Version, purl };
    })
    .sort((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1));
}

function nodeComponent(runtimeRoot) {
  const path = join(runtimeRoot, 'nodejs/bin/node');
  if (!existsSync(path) || !statSync(path).isFile()) return [];
  const bytes = readFileSync(path);
  // The program names its release where `process.release` takes it from.
  const version = /node-v(\d+\.\d+\.\d+)/.exec(bytes.subarray(0).toString('latin1'))?.[1] ?? 'unknown';
  return [{ type: 'application', 'bom-ref': `pkg:generic/node@${version}`, name: 'node', version, purl: `pkg:generic/node@${version}`, hashes: [{ alg: 'SHA-256', content: createHash('sha256').update(bytes).digest('hex') }] }];
}

/** Jars by the names that Maven gives them; their coordinates' group is not in the name and so not claimed. */
export function jarComponents(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => name.endsWith('.jar')).sort().map((file) => {
    const [, name, version] = /^(.+?)-(\d[^-]*(?:-\d+)?)\.jar$/.exec(file) ?? [undefined, file.slice(0, -4), 'unknown'];
    return { type: 'library', 'bom-ref': `jar:${file}`, name, version, hashes: [{ alg: 'SHA-256', content: createHash('sha256').update(readFileSync(join(folder, file))).digest('hex') }] };
  });
}

export function cycloneDx(contents) {
  const { runtimeRoot } = contents;
  const components = [...npmComponents(contents), ...(runtimeRoot === undefined ? [] : [...nodeComponent(runtimeRoot), ...debianComponents(runtimeRoot)])];
  return bill({ ...contents, name: `${contents.product}-${contents.image}`, components });
}

/** The document around components. */
export function bill({ name, title, version, license, epochSeconds, components }) {
  const subject = { type: 'application', 'bom-ref': `${name}@${version}`, name, version, description: title, ...licenseOf(license) };
  // A serial number that says nothing but "these contents" (RFC 9562, version 8: bits of our own choosing).
  const digest = createHash('sha256').update(JSON.stringify([subject, components])).digest('hex');
  const serial = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    serialNumber: `urn:uuid:${serial}`,
    version: 1,
    metadata: { timestamp: new Date(epochSeconds * 1000).toISOString(), component: subject },
    components,
    dependencies: [{ ref: subject['bom-ref'], dependsOn: components.map((component) => component['bom-ref']) }],
  };
}

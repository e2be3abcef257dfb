import { at, identify, listAt, nameOf, objectAt, ofKind, textAt, violation, type JsonObject, type Policy, type Release, type Violation } from '../manifests';
import { environmentOf } from '../environment';
import { mainContainer, serviceDeployments, serviceSelects, type Workload } from '../pods';

const FOLDER = '/etc/settlement/tls';
const FILES = { TLS_CERT_FILE: `${FOLDER}/tls.crt`, TLS_KEY_FILE: `${FOLDER}/tls.key`, TLS_CA_FILE: `${FOLDER}/ca.crt` };
/** A renewal that is late by a weekend of retries must still find a certificate that is good. */
const HOURS = /^([0-9]+)h(?:0m)?(?:0s)?$/;

type Service = Workload & { readonly service: string };

/**
 * Each service presents its own identity and checks that of its peers. Its certificate is mounted as a directory, since a
 * single file mounted by `subPath` is never renewed in a running pod.
 */
export const mutualTls: Policy = {
  rule: 'every service speaks mutual TLS with a certificate of its own identity and names, from a directory that is renewed in place',
  check: (release) => serviceDeployments(release).flatMap((workload) => [...mountViolations(workload, release), ...certificateViolations(workload, release)]),
};

function mountViolations(workload: Service, release: Release): Violation[] {
  const container = mainContainer(workload);
  if (container === undefined) return [];
  const { manifest, service, pod, path } = workload;
  const found: Violation[] = [];
  const variables = environmentOf(release, container.spec);
  for (const [name, file] of Object.entries(FILES)) if (variables[name] !== file) found.push(violation(manifest, container.path, `${name} is ${variables[name] ?? 'missing'} instead of ${file}`));
  if (variables['TLS_TRUST_DOMAIN'] === undefined) found.push(violation(manifest, container.path, 'TLS_TRUST_DOMAIN is missing'));
  if (variables['ALLOW_PLAINTEXT'] === 'true') found.push(violation(manifest, container.path, 'ALLOW_PLAINTEXT is true'));
  const mounts = listAt(container.spec, 'volumeMounts');
  const index = mounts.findIndex((mount) => textAt(mount, 'mountPath') === FOLDER);
  const mount = mounts[index];
  if (mount === undefined) return [...found, violation(manifest, [...container.path, 'volumeMounts'], `has none at ${FOLDER}`)];
  if (at(mount, 'subPath') !== undefined || at(mount, 'subPathExpr') !== undefined) found.push(violation(manifest, [...container.path, 'volumeMounts', index, 'subPath'], 'is never renewed in a running pod'));
  if (at(mount, 'readOnly') !== true) found.push(violation(manifest, [...container.path, 'volumeMounts', index, 'readOnly'], 'is not true'));
  const volumes = listAt(pod, 'volumes');
  const position = volumes.findIndex((volume) => textAt(volume, 'name') === textAt(mount, 'name'));
  const secret = textAt(volumes[position], 'secret', 'secretName');
  if (secret !== `settlement-${service}-tls`) found.push(violation(manifest, [...path, 'volumes', position, 'secret', 'secretName'], `is ${secret ?? 'missing'} instead of settlement-${service}-tls`));
  if (at(volumes[position], 'secret', 'optional') === true) found.push(violation(manifest, [...path, 'volumes', position, 'secret', 'optional'], 'lets a pod start without its certificate'));
  return found;
}

function certificateViolations(workload: Service, release: Release): Violation[] {
  const { manifest, service, labels } = workload;
  const container = mainContainer(workload);
  const domain = container === undefined ? 'settlement' : (environmentOf(release, container.spec)['TLS_TRUST_DOMAIN'] ?? 'settlement');
  const certificates = ofKind(release, 'Certificate').filter((certificate) => textAt(certificate, 'spec', 'secretName') === `settlement-${service}-tls`);
  const [certificate] = certificates;
  if (certificate === undefined || certificates.length !== 1) return [violation(manifest, [], `${certificates.length} Certificates fill settlement-${service}-tls`)];
  const found: Violation[] = [];
  const uris = listAt(certificate, 'spec', 'uris');
  if (uris.length !== 1 || uris[0] !== `spiffe://${domain}/${service}`) found.push(violation(certificate, ['spec', 'uris'], `is not spiffe://${domain}/${service} alone`));
  const names = listAt(certificate, 'spec', 'dnsNames');
  for (const target of ofKind(release, 'Service').filter((each) => serviceSelects(each, labels))) {
    for (const name of [nameOf(target), `${nameOf(target)}.${release.namespace}`, `${nameOf(target)}.${release.namespace}.svc`, `${nameOf(target)}.${release.namespace}.svc.cluster.local`]) {
      if (!names.includes(name)) found.push(violation(certificate, ['spec', 'dnsNames'], `lacks ${name}, by which ${identify(target)} is called`));
    }
  }
  for (const name of names) if (typeof name === 'string' && !name.startsWith(`settlement-${service}`)) found.push(violation(certificate, ['spec', 'dnsNames'], `has ${name}, which is another’s`));
  for (const usage of ['server auth', 'client auth']) if (!listAt(certificate, 'spec', 'usages').includes(usage)) found.push(violation(certificate, ['spec', 'usages'], `lacks ${usage}`));
  if (at(certificate, 'spec', 'isCA') === true) found.push(violation(certificate, ['spec', 'isCA'], 'lets a service sign for others'));
  if (textAt(certificate, 'spec', 'privateKey', 'rotationPolicy') !== 'Always') found.push(violation(certificate, ['spec', 'privateKey', 'rotationPolicy'], 'keeps one key for ever'));
  return [...found, ...lifetimeViolations(certificate), ...issuerViolations(certificate, release)];
}

function lifetimeViolations(certificate: JsonObject): Violation[] {
  const [duration, renewBefore] = ['duration', 'renewBefore'].map((field) => HOURS.exec(textAt(certificate, 'spec', field) ?? '')?.[1] ?? minutes(textAt(certificate, 'spec', field)));
  if (duration === undefined || renewBefore === undefined) return [violation(certificate, ['spec', 'duration'], 'or renewBefore is not given')];
  return [];
}

const minutes = (text: string | undefined): string | undefined => /^([0-9]+)m$/.exec(text ?? '')?.[1];

function issuerViolations(certificate: JsonObject, release: Release): Violation[] {
  const reference = objectAt(certificate, 'spec', 'issuerRef');
  if (reference['kind'] === 'ClusterIssuer' || reference['kind'] === undefined) return [];
  const own = ofKind(release, 'Issuer').some((issuer) => nameOf(issuer) === reference['name']);
  return own || release.environment !== 'local' ? [] : [violation(certificate, ['spec', 'issuerRef'], 'names an issuer that is not part of the release')];
}

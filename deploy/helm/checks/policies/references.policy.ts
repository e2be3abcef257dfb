import { at, identify, listAt, named, nameOf, objectAt, ofKind, textAt, textsAt, violation, type JsonObject, type Policy, type Release, type Step, type Violation } from '../manifests';
import { containers, workloads } from '../pods';

/** What somebody else makes, and who: a reference to anything else has to be rendered. */
const EXTERNAL: readonly { readonly kind: string; readonly name: RegExp; readonly keys?: readonly string[]; readonly by: string; readonly where?: (release: Release) => boolean }[] = [
  { kind: 'Secret', name: /^settlement-postgres-ca$/, keys: ['ca.crt', 'ca.key'], by: 'CloudNativePG', where: (release) => ofKind(release, 'Cluster').length > 0 },
  { kind: 'Secret', name: /^settlement-cluster-ca-cert$/, keys: ['ca.crt', 'ca.p12', 'ca.password'], by: 'Strimzi', where: (release) => ofKind(release, 'Kafka').length > 0 },
  { kind: 'PersistentVolumeClaim', name: /^settlement-lists$/, by: 'the list fetcher (screening.lists)', where: ({ environment }) => environment !== 'local' },
  { kind: 'Secret', name: /^settlement-gateway-public-tls$/, by: 'whoever runs the ingress' },
];

/** Secrets that a controller fills because an object of the release asks for them, with the keys that they will have. */
function filledSecrets(release: Release): Map<string, readonly string[] | undefined> {
  const secrets = new Map<string, readonly string[] | undefined>();
  for (const secret of ofKind(release, 'Secret')) secrets.set(nameOf(secret), [...Object.keys(objectAt(secret, 'data')), ...Object.keys(objectAt(secret, 'stringData'))]);
  for (const certificate of ofKind(release, 'Certificate')) secrets.set(textAt(certificate, 'spec', 'secretName') ?? '', ['tls.crt', 'tls.key', 'ca.crt']);
  for (const user of ofKind(release, 'KafkaUser')) secrets.set(nameOf(user), ['user.crt', 'user.key', 'ca.crt', 'user.p12', 'user.password']);
  for (const external of ofKind(release, 'ExternalSecret')) {
    const template = Object.keys(objectAt(external, 'spec', 'target', 'template', 'data'));
    const data = listAt(external, 'spec', 'data').map((entry) => textAt(entry, 'secretKey') ?? '');
    const open = listAt(external, 'spec', 'dataFrom').length > 0;
    secrets.set(textAt(external, 'spec', 'target', 'name') ?? nameOf(external), open ? undefined : template.length > 0 ? template : data);
  }
  return secrets;
}

export const references: Policy = {
  rule: 'every Secret, ConfigMap and claim that a pod refers to is rendered, filled by a controller for the release, or declared as somebody else’s, with the key that is asked for',
  check(release) {
    const secrets = filledSecrets(release);
    const found: Violation[] = [];
    const external = (kind: string, name: string): (typeof EXTERNAL)[number] | undefined => EXTERNAL.find((each) => each.kind === kind && each.name.test(name) && (each.where === undefined || each.where(release)));
    const demand = (manifest: JsonObject, path: readonly Step[], kind: 'Secret' | 'ConfigMap' | 'PersistentVolumeClaim', name: string | undefined, keys: readonly string[], optional: boolean): void => {
      if (name === undefined || optional) return;
      const rendered = kind === 'Secret' ? undefined : named(release, kind, name);
      const foreign = external(kind, name);
      if (kind === 'Secret' ? !secrets.has(name) && foreign === undefined : rendered === undefined && foreign === undefined) {
        found.push(violation(manifest, path, `names the ${kind} ${name}, which nobody makes`));
        return;
      }
      const known = kind === 'Secret' ? (secrets.has(name) ? secrets.get(name) : foreign?.keys) : rendered === undefined ? foreign?.keys : Object.keys(textsAt(rendered, 'data'));
      for (const key of keys) if (known !== undefined && !known.includes(key)) found.push(violation(manifest, path, `asks the ${kind} ${name} for ${key}, which it does not have (${known.join(', ')})`));
    };
    for (const workload of workloads(release)) {
      const { manifest } = workload;
      for (const { spec, path } of containers(workload)) {
        for (const [index, source] of listAt(spec, 'envFrom').entries()) {
          demand(manifest, [...path, 'envFrom', index], 'Secret', textAt(source, 'secretRef', 'name'), [], at(source, 'secretRef', 'optional') === true);
          demand(manifest, [...path, 'envFrom', index], 'ConfigMap', textAt(source, 'configMapRef', 'name'), [], at(source, 'configMapRef', 'optional') === true);
        }
        for (const [index, entry] of listAt(spec, 'env').entries()) {
          const from = objectAt(entry, 'valueFrom');
          demand(manifest, [...path, 'env', index], 'Secret', textAt(from, 'secretKeyRef', 'name'), [textAt(from, 'secretKeyRef', 'key') ?? ''], at(from, 'secretKeyRef', 'optional') === true);
          demand(manifest, [...path, 'env', index], 'ConfigMap', textAt(from, 'configMapKeyRef', 'name'), [textAt(from, 'configMapKeyRef', 'key') ?? ''], at(from, 'configMapKeyRef', 'optional') === true);
        }
        found.push(...mountViolations(workload, spec, path));
      }
      for (const [index, volume] of listAt(workload.pod, 'volumes').entries()) {
        const path = [...workload.path, 'volumes', index];
        const keys = (source: string): string[] => listAt(volume, source, 'items').map((item) => textAt(item, 'key') ?? '');
        demand(manifest, path, 'Secret', textAt(volume, 'secret', 'secretName'), keys('secret'), at(volume, 'secret', 'optional') === true);
        demand(manifest, path, 'ConfigMap', textAt(volume, 'configMap', 'name'), keys('configMap'), at(volume, 'configMap', 'optional') === true);
        demand(manifest, path, 'PersistentVolumeClaim', textAt(volume, 'persistentVolumeClaim', 'claimName'), [], false);
      }
    }
    for (const cluster of ofKind(release, 'Cluster')) {
      for (const [index, role] of listAt(cluster, 'spec', 'managed', 'roles').entries()) demand(cluster, ['spec', 'managed', 'roles', index, 'passwordSecret'], 'Secret', textAt(role, 'passwordSecret', 'name'), ['username', 'password'], false);
    }
    for (const ingress of ofKind(release, 'Ingress')) {
      for (const [index, tls] of listAt(ingress, 'spec', 'tls').entries()) demand(ingress, ['spec', 'tls', index], 'Secret', textAt(tls, 'secretName'), [], false);
      for (const rule of listAt(ingress, 'spec', 'rules')) {
        for (const path of listAt(rule, 'http', 'paths')) {
          const service = named(release, 'Service', textAt(path, 'backend', 'service', 'name') ?? '');
          const port = at(path, 'backend', 'service', 'port', 'name') ?? at(path, 'backend', 'service', 'port', 'number');
          if (service === undefined) found.push(violation(ingress, ['spec', 'rules'], `leads to the Service ${textAt(path, 'backend', 'service', 'name') ?? '(none)'}, which is not rendered`));
          else if (!listAt(service, 'spec', 'ports').some((each) => at(each, 'name') === port || at(each, 'port') === port)) found.push(violation(ingress, ['spec', 'rules'], `leads to the port ${String(port)}, which ${identify(service)} has not`));
        }
      }
    }
    return found;
  },
};

function mountViolations(workload: ReturnType<typeof workloads>[number], container: JsonObject, path: readonly Step[]): Violation[] {
  const claims = listAt(workload.manifest, 'spec', 'volumeClaimTemplates').map((claim) => textAt(claim, 'metadata', 'name'));
  const volumes = [...listAt(workload.pod, 'volumes').map((volume) => textAt(volume, 'name')), ...claims];
  const paths = listAt(container, 'volumeMounts').map((mount) => textAt(mount, 'mountPath'));
  return [
    ...listAt(container, 'volumeMounts').flatMap((mount, index) => (volumes.includes(textAt(mount, 'name')) ? [] : [violation(workload.manifest, [...path, 'volumeMounts', index], `mounts ${textAt(mount, 'name') ?? '(nothing)'}, which is no volume of the pod`)])),
    ...(new Set(paths).size === paths.length ? [] : [violation(workload.manifest, [...path, 'volumeMounts'], 'mounts two volumes at one path')]),
  ];
}

import { listAt, objectAt, ofKind, textAt, textsAt, violation, type Policy, type Violation } from '../manifests';
import { containers, workloads } from '../pods';

// Variables of the services’ config.ts that hold a secret, wherever they come from.
const SECRET_NAMES = /^(ADMIN_TOKEN|SECRETS_KEY|RELAYER_KEYS|TREASURY_KEY|PAYMASTER_SIGNER_KEY|SPONSOR_API_KEYS|PARTIES_DIGEST_KEYS|DATABASE_URL|FEED_DATABASES|PARTITION_MAP)$|(PASSWORD|PASSWD|PRIVATE_KEY|_SECRET|_TOKEN|API_KEY)$/;
/** What a secret looks like under an innocent name: a private key, a PEM block, a password within an address. */
const SECRET_VALUES = /-----BEGIN [A-Z ]*PRIVATE KEY-----|\b0x[0-9a-fA-F]{64}\b|[a-z][a-z0-9+.-]*:\/\/[^\s/:@]+:[^\s/@]+@/;

export const secretHygiene: Policy = {
  rule: 'no secret stands in a ConfigMap, an argument or a literal variable, nor in plain Secrets outside of local clusters',
  check(release) {
    const found: Violation[] = [];
    for (const config of ofKind(release, 'ConfigMap')) {
      for (const [key, value] of Object.entries(textsAt(config, 'data'))) {
        if (SECRET_NAMES.test(key)) found.push(violation(config, ['data', key], 'is the name of a secret'));
        if (SECRET_VALUES.test(value)) found.push(violation(config, ['data', key], 'looks like a secret'));
      }
    }
    for (const workload of workloads(release)) {
      for (const { spec, path } of containers(workload)) {
        for (const [index, entry] of listAt(spec, 'env').entries()) {
          const value = textAt(entry, 'value');
          if (value === undefined) continue;
          if (SECRET_NAMES.test(textAt(entry, 'name') ?? '')) found.push(violation(workload.manifest, [...path, 'env', index], `holds ${textAt(entry, 'name') ?? ''} as a literal`));
          if (SECRET_VALUES.test(value)) found.push(violation(workload.manifest, [...path, 'env', index, 'value'], 'looks like a secret'));
        }
        for (const field of ['args', 'command']) {
          for (const [index, text] of listAt(spec, field).entries()) if (typeof text === 'string' && SECRET_VALUES.test(text)) found.push(violation(workload.manifest, [...path, field, index], 'looks like a secret'));
        }
      }
    }
    for (const { metadata, ...rest } of release.manifests) {
      const annotations = objectAt(metadata, 'annotations');
      for (const [key, value] of Object.entries(annotations)) if (typeof value === 'string' && SECRET_VALUES.test(value)) found.push(violation({ metadata, ...rest }, ['metadata', 'annotations', key], 'looks like a secret'));
    }
    if (release.environment !== 'local') {
      for (const secret of ofKind(release, 'Secret')) found.push(violation(secret, [], 'comes from values, which stay in the release and in shells’ histories'));
    }
    return found;
  },
};

import { ruleSuite } from '../rule-suite';
import { secretHygiene } from './secret-hygiene.policy';

const gateway = 'Deployment/settlement-gateway';
const first = ['spec', 'template', 'spec', 'containers', 0] as const;
const config = 'ConfigMap/settlement-gateway';

ruleSuite(secretHygiene, [
  { what: 'a token in a ConfigMap', plant: (release) => release.set(config, ['data', 'ADMIN_TOKEN'], 'x'), found: /data\.ADMIN_TOKEN: is the name of a secret/ },
  { what: 'a private key under another name', plant: (release) => release.set(config, ['data', 'SPARE'], `0x${'ab'.repeat(32)}`), found: /data\.SPARE: looks like a secret/ },
  { what: 'a password in an address', plant: (release) => release.set(config, ['data', 'MIRROR'], 'postgres://reader:hunter2@db/x'), found: /data\.MIRROR: looks like a secret/ },
  { what: 'a literal variable', plant: (release) => release.push(gateway, [...first, 'env'], { name: 'RELAYER_KEYS', value: '[]' }), found: /holds RELAYER_KEYS as a literal/ },
  { what: 'a key as an argument', plant: (release) => release.push(gateway, [...first, 'args'], `--key=0x${'ab'.repeat(32)}`), found: /args\[1\]: looks like a secret/ },
  { what: 'a PEM block in an annotation', plant: (release) => release.set(gateway, ['metadata', 'annotations'], { note: '-----BEGIN EC PRIVATE KEY-----' }), found: /annotations\.note: looks like a secret/ },
  { what: 'a plain Secret in production', where: ({ environment }) => environment === 'production', plant: (release) => release.add({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'extra' }, stringData: { a: 'b' } }), found: /Secret\/extra: comes from values/ },
]);

import { ruleSuite } from '../rule-suite';
import { serviceAccounts } from './service-accounts.policy';

const gateway = 'Deployment/settlement-gateway';
const pod = ['spec', 'template', 'spec'] as const;

ruleSuite(serviceAccounts, [
  { what: 'the default account', plant: (release) => release.set(gateway, [...pod, 'serviceAccountName'], undefined), found: /is the default account/ },
  { what: 'an account that does not exist', plant: (release) => release.set(gateway, [...pod, 'serviceAccountName'], 'settlement-gatway'), found: /is settlement-gatway, which is not part/ },
  { what: 'an account of another service', plant: (release) => release.set(gateway, [...pod, 'serviceAccountName'], 'settlement-relayer'), found: /ServiceAccount\/settlement-relayer: is shared by/ },
  { what: 'a token', plant: (release) => release.set(gateway, [...pod, 'automountServiceAccountToken'], true), found: /Deployment\/settlement-gateway .*automountServiceAccountToken: is not false/ },
  { what: 'a token of the account', plant: (release) => release.set('ServiceAccount/settlement-gateway', ['automountServiceAccountToken'], undefined), found: /ServiceAccount\/settlement-gateway automountServiceAccountToken: is not false/ },
  { what: 'a token by a volume', plant: (release) => release.push(gateway, [...pod, 'volumes'], { name: 'token', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } }), found: /brings a token back in/ },
  { what: 'a role', plant: (release) => release.add({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'reader' }, rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }] }), found: /Role\/reader: grants rights/ },
]);

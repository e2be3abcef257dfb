import { ruleSuite } from '../rule-suite';
import { rollout } from './rollout.policy';

const gateway = 'Deployment/settlement-gateway';

ruleSuite(rollout, [
  { what: 'all pods at once', plant: (release) => release.set(gateway, ['spec', 'strategy'], { type: 'Recreate' }), found: /strategy\.type: is not RollingUpdate/ },
  { what: 'the default strategy', plant: (release) => release.set(gateway, ['spec', 'strategy'], undefined), found: /maxUnavailable: is not 0/ },
  { what: 'a pod less meanwhile', plant: (release) => release.set(gateway, ['spec', 'strategy', 'rollingUpdate', 'maxUnavailable'], '25%'), found: /maxUnavailable: is not 0/ },
  { what: 'no room for a new pod', plant: (release) => release.set(gateway, ['spec', 'strategy', 'rollingUpdate', 'maxSurge'], 0), found: /maxSurge: is not at least 1/ },
  { what: 'nothing to roll back to', plant: (release) => release.set(gateway, ['spec', 'revisionHistoryLimit'], 0), found: /nothing to roll back to/ },
  { what: 'a pod that is ready for a moment', plant: (release) => release.set(gateway, ['spec', 'minReadySeconds'], undefined), found: /ready for a moment/ },
  { what: 'a rollout that may hang for an hour', plant: (release) => release.set(gateway, ['spec', 'progressDeadlineSeconds'], 3_600), found: /more than a quarter of an hour/ },
  { what: 'a StatefulSet that is never updated', where: ({ manifests }) => manifests.some(({ kind }) => kind === 'StatefulSet'), plant: (release) => release.set('StatefulSet', ['spec', 'updateStrategy'], { type: 'OnDelete' }), found: /is OnDelete/ },
]);

import type { Release } from '../manifests';
import { ruleSuite } from '../rule-suite';
import { autoscaling } from './autoscaling.policy';

const has = (kind: string) => ({ where: ({ manifests }: Release): boolean => manifests.some((manifest) => manifest['kind'] === kind) });
const strict = { where: ({ environment, manifests }: Release): boolean => environment === 'production' && manifests.some(({ kind }) => kind === 'HorizontalPodAutoscaler') };
const scaler = (target: string) => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name: 'another' },
  spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: target }, minReplicas: 2, maxReplicas: 9 },
});

ruleSuite(autoscaling, [
  { what: 'an HPA beside a ScaledObject', ...has('ScaledObject'), plant: (release) => release.add(scaler('settlement-relayer')), found: /settlement-relayer: has 2 autoscalers/ },
  { what: 'two HPAs', ...has('HorizontalPodAutoscaler'), plant: (release) => release.add(scaler('settlement-gateway')), found: /settlement-gateway: has 2 autoscalers/ },
  { what: 'an HPA of nothing', plant: (release) => release.add(scaler('settlement-gatway')), found: /is settlement-gatway, which is no Deployment/ },
  { what: 'a fixed number against the autoscaler', ...strict, plant: (release) => release.set('Deployment/settlement-gateway', ['spec', 'replicas'], 3), found: /is put back by each upgrade/ },
  { what: 'a minimum of one', ...strict, plant: (release) => release.set('HorizontalPodAutoscaler', ['spec', 'minReplicas'], 1), found: /minReplicas: is below two/ },
  { what: 'a maximum below the minimum', ...strict, plant: (release) => release.set('HorizontalPodAutoscaler', ['spec', 'maxReplicas'], 1), found: /a maximum below its minimum/ },
  { what: 'more relayers than lanes', ...has('ScaledObject'), plant: (release) => release.set('ScaledObject/settlement-relayer', ['spec', 'maxReplicaCount'], 99), found: /lets the relayer grow to 99 replicas/ },
  { what: 'an unknown number of lanes', plant: (release) => release.set('Deployment/settlement-relayer', ['metadata', 'annotations'], undefined), found: /does not say how many lanes/ },
  { what: 'KEDA on CPU alone', ...has('ScaledObject'), plant: (release) => release.set('ScaledObject', ['spec', 'triggers'], [{ type: 'cpu', metadata: { value: '70' } }]), found: /has none on a backlog/ },
  { what: 'an unreadable backlog that counts as empty', ...has('ScaledObject'), plant: (release) => release.set('ScaledObject', ['spec', 'fallback'], undefined), found: /fallback: is missing/ },
]);

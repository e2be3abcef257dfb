import { ruleSuite } from '../rule-suite';
import { spread } from './spread.policy';

const gateway = 'Deployment/settlement-gateway';
const constraints = ['spec', 'template', 'spec', 'topologySpreadConstraints'] as const;
const production = { where: ({ environment }: { readonly environment: string }): boolean => environment === 'production' };

ruleSuite(spread, [
  { what: 'no spread at all', plant: (release) => release.set(gateway, constraints, undefined), found: /none over topology\.kubernetes\.io\/zone[^]*none over kubernetes\.io\/hostname/ },
  { what: 'a spread over racks only', plant: (release) => release.set(gateway, [...constraints, 0, 'topologyKey'], 'example.com/rack'), found: /settlement-gateway .*has none over/ },
  { what: 'a spread over other pods', plant: (release) => release.set(gateway, [...constraints, 0, 'labelSelector'], { matchLabels: { app: 'other' } }), found: /does not select the pods themselves/ },
  { what: 'a spread without a selector', plant: (release) => release.set(gateway, [...constraints, 1, 'labelSelector'], undefined), found: /does not select the pods themselves/ },
  { what: 'a wide skew', plant: (release) => release.set(gateway, [...constraints, 0, 'maxSkew'], 5), found: /maxSkew: is not 1/ },
  { what: 'a wish instead of a demand in production', ...production, plant: (release) => [0, 1].forEach((index) => release.set(gateway, [...constraints, index, 'whenUnsatisfiable'], 'ScheduleAnyway')), found: /may put all pods into one zone/ },
  { what: 'revisions that are counted as one', plant: (release) => release.set(gateway, [...constraints, 0, 'matchLabelKeys'], undefined), found: /does not tell revisions apart/ },
  { what: 'two databases on one node', ...production, plant: (release) => release.set('Cluster', ['spec', 'affinity', 'podAntiAffinityType'], 'preferred'), found: /may put two instances onto one node/ },
]);

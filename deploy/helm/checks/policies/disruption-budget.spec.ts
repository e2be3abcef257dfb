import { ruleSuite } from '../rule-suite';
import { disruptionBudget } from './disruption-budget.policy';

const budget = 'PodDisruptionBudget/settlement-gateway';

ruleSuite(disruptionBudget, [
  { what: 'a missing budget', plant: (release) => release.remove(budget), found: /Deployment\/settlement-gateway: has no disruption budget/ },
  { what: 'a budget that blocks every drain', plant: (release) => release.set(budget, ['spec', 'maxUnavailable'], 0), found: /is not 1: 0 blocks every drain/ },
  { what: 'a budget of a share', plant: (release) => release.set(budget, ['spec', 'maxUnavailable'], '100%'), found: /maxUnavailable: is not 1/ },
  { what: 'a budget by what must stay', plant: (release) => release.set(budget, ['spec', 'minAvailable'], 3), found: /minAvailable: counts what must stay/ },
  { what: 'a budget for pods that do not exist', plant: (release) => release.set(budget, ['spec', 'selector', 'matchLabels', 'app.kubernetes.io/component'], 'gatway'), found: /has no disruption budget[^]*selects the pods of nothing/ },
  { what: 'a budget for everything', plant: (release) => release.set(budget, ['spec', 'selector'], {}), found: /has 2 disruption budgets[^]*instead of one/ },
  { what: 'pods that never become ready and block', plant: (release) => release.set(budget, ['spec', 'unhealthyPodEvictionPolicy'], undefined), found: /never becomes ready/ },
  { what: 'a service that is not there', plant: (release) => release.remove('Deployment/settlement-relayer'), found: /relayer: has no Deployment/ },
]);

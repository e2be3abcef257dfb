import { ruleSuite } from '../rule-suite';
import { capabilityGuards } from './capability-guards.policy';

const bare = { where: ({ monitoring, keda, environment }: { readonly monitoring: boolean; readonly keda: boolean; readonly environment: string }): boolean => !monitoring && !keda && environment === 'production' };
const watched = { where: ({ monitoring }: { readonly monitoring: boolean }): boolean => monitoring };

ruleSuite(capabilityGuards, [
  { what: 'a ServiceMonitor that nobody knows', ...bare, plant: (release) => release.add({ apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor', metadata: { name: 'x' } }), found: /ServiceMonitor\/x: is rendered though/ },
  { what: 'a PrometheusRule that nobody knows', ...bare, plant: (release) => release.add({ apiVersion: 'monitoring.coreos.com/v1', kind: 'PrometheusRule', metadata: { name: 'x' } }), found: /PrometheusRule\/x: is rendered though/ },
  { what: 'a ScaledObject that nobody knows', ...bare, plant: (release) => release.add({ apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject', metadata: { name: 'x' } }), found: /ScaledObject\/x: is rendered though/ },
  { what: 'a service that nothing scales without KEDA', ...bare, plant: (release) => release.remove('HorizontalPodAutoscaler/settlement-relayer'), found: /settlement-relayer: is scaled by nothing/ },
  { what: 'no rules though they are known', ...watched, plant: (release) => release.manifests.filter(({ kind }) => kind === 'PrometheusRule').forEach(() => release.remove('PrometheusRule')), found: /PrometheusRule: is missing/ },
  { what: 'a monitor of a port that does not exist', ...watched, plant: (release) => release.set('ServiceMonitor', ['spec', 'endpoints', 0, 'port'], 'metrics'), found: /port: is metrics, which no Service|is scraped by no ServiceMonitor/ },
  { what: 'a monitor of nothing', ...watched, plant: (release) => release.manifests.filter(({ kind }) => kind === 'ServiceMonitor').forEach((monitor) => { monitor['spec'] = { selector: { matchLabels: { app: 'other' } }, endpoints: [{ port: 'ops' }] }; }), found: /Service of gateway: is scraped by no ServiceMonitor/ },
]);

import { ruleSuite } from '../rule-suite';
import { probes } from './probes.policy';

const relayer = 'Deployment/settlement-relayer';
const first = ['spec', 'template', 'spec', 'containers', 0] as const;

ruleSuite(probes, [
  { what: 'no startup probe', plant: (release) => release.set(relayer, [...first, 'startupProbe'], undefined), found: /startupProbe\.httpGet\.path: is not \/health\/startup/ },
  { what: 'a liveness probe that asks for readiness', plant: (release) => release.set(relayer, [...first, 'livenessProbe', 'httpGet', 'path'], '/health/ready'), found: /livenessProbe\.httpGet\.path: is not \/health\/live/ },
  { what: 'a readiness probe that asks the event loop', plant: (release) => release.set(relayer, [...first, 'readinessProbe', 'httpGet', 'path'], '/health/live'), found: /readinessProbe\.httpGet\.path: is not \/health\/ready/ },
  { what: 'a probe of a port by a name that is none', plant: (release) => release.set(relayer, [...first, 'readinessProbe', 'httpGet', 'port'], 'opps'), found: /readinessProbe\.httpGet\.port: is not the ops port/ },
  { what: 'a probe of the gRPC port', plant: (release) => release.set(relayer, [...first, 'livenessProbe', 'httpGet', 'port'], 9090), found: /livenessProbe\.httpGet\.port: is not the ops port/ },
  { what: 'an impatient liveness probe', plant: (release) => release.set(relayer, [...first, 'livenessProbe', 'failureThreshold'], 1), found: /livenessProbe: acts after 10 s/ },
  { what: 'an impatient readiness probe', plant: (release) => release.set(relayer, [...first, 'readinessProbe', 'failureThreshold'], 3), found: /readinessProbe: acts after 15 s/ },
  { what: 'an impatient startup probe', plant: (release) => release.set(relayer, [...first, 'startupProbe', 'failureThreshold'], 3), found: /startupProbe: gives a start less/ },
  { what: 'a probe that must answer within a second', plant: (release) => release.set(relayer, [...first, 'readinessProbe', 'timeoutSeconds'], undefined), found: /readinessProbe\.timeoutSeconds: is one second/ },
]);

import { KEEP_ALIVE_HINT_SECONDS } from '@settlement/rpc/http-callers';
import { expect, it } from 'vitest';
import { ruleSuite } from '../rule-suite';
import { CALLERS_DISUSE_SECONDS, gracefulStop } from './graceful-stop.policy';

const settlement = 'Deployment/settlement-batch-settlement';
const pod = ['spec', 'template', 'spec'] as const;
const first = [...pod, 'containers', 0] as const;

it('counts with the disuse that the services allow', () => {
  expect(CALLERS_DISUSE_SECONDS).toBe(KEEP_ALIVE_HINT_SECONDS);
});

ruleSuite(gracefulStop, [
  { what: 'no preStop', plant: (release) => release.set(settlement, [...first, 'lifecycle'], undefined), found: /preStop\.sleep\.seconds: is not at least/ },
  { what: 'a preStop by a shell', plant: (release) => release.set(settlement, [...first, 'lifecycle', 'preStop'], { exec: { command: ['sleep', '5'] } }), found: /needs a program that the image does not have/ },
  { what: 'the default grace period', plant: (release) => release.set(settlement, [...pod, 'terminationGracePeriodSeconds'], undefined), found: /terminationGracePeriodSeconds: is 30 s/ },
  { what: 'a drain shorter than a batch', plant: (release) => release.set('ConfigMap/settlement-batch-settlement', ['data', 'SHUTDOWN_TIMEOUT_MS'], '10000'), found: /drains for 10000 ms, and screening and submitting/ },
  { what: 'a drain longer than the grace period', plant: (release) => release.set('ConfigMap/settlement-batch-settlement', ['data', 'SHUTDOWN_TIMEOUT_MS'], '600000'), found: /terminationGracePeriodSeconds: is .* takes 613 s/ },
  { what: 'a pause that nobody counted', plant: (release) => release.set('ConfigMap/settlement-batch-settlement', ['data', 'SHUTDOWN_DELAY_MS'], '60000'), found: /terminationGracePeriodSeconds/ },
  { what: 'connections closed on callers that may still use them', plant: (release) => release.set('ConfigMap/settlement-gateway', ['data', 'SHUTDOWN_LINGER_MS'], '2000'), found: /lingers for 2000 ms/ },
  { what: 'no drain at all', plant: (release) => release.set('ConfigMap/settlement-batch-settlement', ['data', 'SHUTDOWN_TIMEOUT_MS'], undefined), found: /has no SHUTDOWN_TIMEOUT_MS/ },
  { what: 'a longer settle request', plant: (release) => release.set('ConfigMap/settlement-gateway', ['data', 'X402_SETTLE_TIMEOUT_MS'], '85000'), found: /takes up to 85000 ms/ },
]);

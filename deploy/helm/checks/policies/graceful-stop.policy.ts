import { numberAt, textAt, violation, type Policy, type Violation } from '../manifests';
import { environmentOf } from '../environment';
import { mainContainer, serviceDeployments, type ServiceName } from '../pods';
import { wholeNumber } from '../quantity';

/**
 * Milliseconds that the longest thing in hand may take, from the code: what is cut off is not lost but redelivered, and a
 * caller hears `unknown` where it could have heard the outcome.
 */
const LONGEST_MS: Readonly<Record<ServiceName, { readonly variable?: string; readonly times?: number; readonly ms: number; readonly what: string }>> = {
  gateway: { variable: 'X402_SETTLE_TIMEOUT_MS', ms: 60_000, what: 'an x402 settle request (X402_SETTLE_TIMEOUT_MS)' },
  relayer: { variable: 'RPC_TIMEOUT_MS', times: 2, ms: 10_000, what: 'two JSON-RPC requests in a row (RPC_TIMEOUT_MS)' },
  paymaster: { ms: 15_000, what: 'a screening call of 10 s and the commit behind it' },
  'batch-settlement': { ms: 40_000, what: 'screening and submitting a batch, 20 s each' },
  'compliance-screening': { ms: 15_000, what: 'a batch that is screened, and its commit' },
};
/** Until every kube-proxy and ingress has heard that a pod goes. */
const PRE_STOP_SECONDS_MIN = 3;
/** How long each answer lets its caller leave the connection unused (libs/rpc/src/http-callers.ts). */
export const CALLERS_DISUSE_SECONDS = 5;

export const gracefulStop: Policy = {
  rule: 'a pod that goes first leaves its Services, then drains for longer than its longest work, and only then is killed',
  check: (release) =>
    serviceDeployments(release).flatMap((workload): Violation[] => {
      const { manifest, service, path, pod } = workload;
      const container = mainContainer(workload);
      if (container === undefined) return [];
      const found: Violation[] = [];
      const variables = environmentOf(release, container.spec);
      const preStop = numberAt(container.spec, 'lifecycle', 'preStop', 'sleep', 'seconds');
      const drainMs = wholeNumber(variables['SHUTDOWN_TIMEOUT_MS']);
      const delayMs = wholeNumber(variables['SHUTDOWN_DELAY_MS']) ?? 0;
      const lingerMs = wholeNumber(variables['SHUTDOWN_LINGER_MS']);
      const grace = numberAt(pod, 'terminationGracePeriodSeconds');
      if (preStop === undefined || preStop < PRE_STOP_SECONDS_MIN) found.push(violation(manifest, [...container.path, 'lifecycle', 'preStop', 'sleep', 'seconds'], `is not at least ${PRE_STOP_SECONDS_MIN} s (the images have no shell to sleep in)`));
      if (textAt(container.spec, 'lifecycle', 'preStop', 'exec', 'command', 0) !== undefined) found.push(violation(manifest, [...container.path, 'lifecycle', 'preStop', 'exec'], 'needs a program that the image does not have'));
      if (drainMs === undefined) found.push(violation(manifest, container.path, 'has no SHUTDOWN_TIMEOUT_MS'));
      if (lingerMs === undefined || lingerMs <= CALLERS_DISUSE_SECONDS * 1_000) found.push(violation(manifest, container.path, `lingers for ${lingerMs ?? 'no'} ms, and callers may leave a connection unused for ${CALLERS_DISUSE_SECONDS} s`));
      const { variable, times = 1, ms, what } = LONGEST_MS[service];
      const longest = times * (wholeNumber(variable === undefined ? undefined : variables[variable]) ?? ms);
      if (drainMs !== undefined && drainMs <= longest) found.push(violation(manifest, container.path, `drains for ${drainMs} ms, and ${what} takes up to ${longest} ms`));
      const needed = (preStop ?? 0) + ((drainMs ?? 0) + delayMs + (lingerMs ?? 0)) / 1_000;
      if (grace === undefined || grace <= needed) found.push(violation(manifest, [...path, 'terminationGracePeriodSeconds'], `is ${grace ?? 30} s, and preStop with linger and drain takes ${needed} s`));
      return found;
    }),
};

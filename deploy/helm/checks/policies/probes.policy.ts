import { at, numberAt, objectAt, textAt, violation, type Policy, type Violation } from '../manifests';
import { mainContainer, portNumber, serviceDeployments, SERVICES } from '../pods';

/** Where each question is answered; liveness asks the event loop alone, so that a database that is down restarts nobody. */
const PROBES = { startupProbe: '/health/startup', readinessProbe: '/health/ready', livenessProbe: '/health/live' } as const;
const OPS_PORT = 9464;
/** A first start migrates or waits for it, and reads its read models. */
const START_SECONDS_MIN = 120;
/** Shorter, and one slow garbage collection on a full node restarts a service that is well. */
const ALIVE_SECONDS_MIN = 30;
/** Longer, and a service that hangs keeps its leases and partitions for too long. */
const ALIVE_SECONDS_MAX = 180;
/** Shorter, and a Postgres that changes its primary takes every pod of every service out at once. */
const READY_SECONDS_MIN = 25;
/** Longer than the objective of a recovery, and callers are sent to a pod that cannot answer. */
const READY_SECONDS_MAX = 30;

/** Seconds of failing after which a probe acts. */
const patience = (probe: ReturnType<typeof objectAt>): number => (numberAt(probe, 'periodSeconds') ?? 10) * (numberAt(probe, 'failureThreshold') ?? 3);

export const probes: Policy = {
  rule: 'each service has a startup, a readiness and a liveness probe on its ops port; liveness asks the event loop only, and both wait out a change of the database',
  check(release) {
    const deployments = serviceDeployments(release);
    const missing = SERVICES.filter((service) => !deployments.some((each) => each.service === service)).map((service): Violation => ({ path: service, reason: 'has no Deployment' }));
    return [...missing, ...deployments.flatMap((workload): Violation[] => {
      const container = mainContainer(workload);
      if (container === undefined) return [violation(workload.manifest, workload.path, 'has no container')];
      const found: Violation[] = [];
      for (const [name, path] of Object.entries(PROBES)) {
        const probe = objectAt(container.spec, name);
        const where = [...container.path, name];
        if (textAt(probe, 'httpGet', 'path') !== path) found.push(violation(workload.manifest, [...where, 'httpGet', 'path'], `is not ${path}`));
        if (portNumber(workload, at(probe, 'httpGet', 'port')) !== OPS_PORT) found.push(violation(workload.manifest, [...where, 'httpGet', 'port'], `is not the ops port ${OPS_PORT}`));
        if ((numberAt(probe, 'timeoutSeconds') ?? 1) < 2) found.push(violation(workload.manifest, [...where, 'timeoutSeconds'], 'is one second, which a busy node exceeds'));
      }
      const alive = patience(objectAt(container.spec, 'livenessProbe'));
      if (alive < ALIVE_SECONDS_MIN || alive > ALIVE_SECONDS_MAX) found.push(violation(workload.manifest, [...container.path, 'livenessProbe'], `acts after ${alive} s instead of between ${ALIVE_SECONDS_MIN} and ${ALIVE_SECONDS_MAX}`));
      const ready = patience(objectAt(container.spec, 'readinessProbe'));
      if (ready < READY_SECONDS_MIN || ready > READY_SECONDS_MAX) found.push(violation(workload.manifest, [...container.path, 'readinessProbe'], `acts after ${ready} s instead of between ${READY_SECONDS_MIN} and ${READY_SECONDS_MAX}`));
      if (patience(objectAt(container.spec, 'startupProbe')) < START_SECONDS_MIN) found.push(violation(workload.manifest, [...container.path, 'startupProbe'], `gives a start less than ${START_SECONDS_MIN} s`));
      return found;
    })];
  },
};

import { at, listAt, nameOf, objectAt, ofKind, textAt, violation, type Policy, type Release, type Violation } from '../manifests';
import { environmentOf } from '../environment';
import { containers, mainContainer, portNumber, serviceDeployments, serviceSelects, workloads } from '../pods';

/** Services that operators make: `-rw`, `-ro`, `-r` of a Postgres cluster and the bootstrap of a Kafka (their documentation). */
function operatorServices(release: Release): Map<string, number[]> {
  const names = new Map<string, number[]>();
  for (const cluster of ofKind(release, 'Cluster')) for (const suffix of ['rw', 'ro', 'r']) names.set(`${nameOf(cluster)}-${suffix}`, [5432]);
  for (const kafka of ofKind(release, 'Kafka')) names.set(`${nameOf(kafka)}-kafka-bootstrap`, listAt(kafka, 'spec', 'kafka', 'listeners').flatMap((listener) => { const port = at(listener, 'port'); return typeof port === 'number' ? [port] : []; }));
  return names;
}

export const serviceEndpoints: Policy = {
  rule: 'every Service leads to pods and to a port that they open, and every address that a service is given is such a Service',
  check(release) {
    const found: Violation[] = [];
    for (const service of ofKind(release, 'Service')) {
      const targets = workloads(release).filter(({ kind, labels }) => kind !== 'Job' && kind !== 'Pod' && serviceSelects(service, labels));
      if (targets.length !== 1) found.push(violation(service, ['spec', 'selector'], `selects the pods of ${targets.length} workloads instead of one`));
      for (const [index, port] of listAt(service, 'spec', 'ports').entries()) {
        const wanted = at(port, 'targetPort') ?? at(port, 'port');
        for (const target of targets) {
          const number = portNumber(target, wanted);
          const open = containers(target).some(({ spec }) => listAt(spec, 'ports').some((each) => at(each, 'containerPort') === number));
          if (number === undefined || !open) found.push(violation(service, ['spec', 'ports', index, 'targetPort'], `is ${String(wanted)}, which the pods do not open`));
        }
      }
      if (textAt(service, 'spec', 'type') === 'LoadBalancer') found.push(violation(service, ['spec', 'type'], 'opens an address of its own to the outside'));
      if (textAt(service, 'spec', 'type') === 'NodePort' && release.environment !== 'local') found.push(violation(service, ['spec', 'type'], 'opens a port on every node'));
    }
    const byOperators = operatorServices(release);
    for (const workload of serviceDeployments(release)) {
      const container = mainContainer(workload);
      if (container === undefined) continue;
      for (const [name, value] of Object.entries(environmentOf(release, container.spec))) {
        if (!/(_ADDRESS|KAFKA_BROKERS)$/.test(name)) continue;
        for (const address of value.split(',')) {
          const [host = '', port = ''] = address.trim().split(':');
          const service = ofKind(release, 'Service').find((each) => nameOf(each) === host.split('.')[0]);
          const ports = service === undefined ? byOperators.get(host.split('.')[0] ?? '') : listAt(service, 'spec', 'ports').map((each) => at(objectAt(each), 'port'));
          if (ports === undefined || !ports.some((each) => String(each) === port)) found.push(violation(workload.manifest, container.path, `${name} is ${address}, where no Service of the release listens`));
        }
      }
    }
    return found;
  },
};

import { named, numberAt, ofKind, textAt, violation, type Policy, type Violation } from '../manifests';
import { isService, workloads } from '../pods';

/**
 * When a node is full, what holds data goes last and what serves payments before anything that has said nothing. A class that
 * is nowhere defined keeps pods from being created at all.
 */
export const priority: Policy = {
  rule: 'every pod has a priority class that exists, data above services, both below the system',
  check(release) {
    const found: Violation[] = [];
    const value = (name: string | undefined): number | undefined => {
      const definition = name === undefined ? undefined : named(release, 'PriorityClass', name);
      return definition === undefined ? undefined : numberAt(definition, 'value');
    };
    const serving: number[] = [];
    const holding: { readonly value: number; readonly report: () => Violation }[] = [];
    const judge = (manifest: Parameters<typeof violation>[0], path: readonly (string | number)[], name: string | undefined, data: boolean): void => {
      if (name === undefined) found.push(violation(manifest, path, 'is missing'));
      else {
        const known = value(name);
        if (known === undefined) found.push(violation(manifest, path, `names the class ${name}, which is not part of the release`));
        else if (data) holding.push({ value: known, report: () => violation(manifest, path, 'is not above the class of the services') });
        else serving.push(known);
      }
    };
    for (const { manifest, pod, path, kind, component } of workloads(release)) {
      const data = kind === 'StatefulSet' && !isService(component);
      judge(manifest, [...path, 'priorityClassName'], textAt(pod, 'priorityClassName'), data);
    }
    for (const cluster of ofKind(release, 'Cluster')) judge(cluster, ['spec', 'priorityClassName'], textAt(cluster, 'spec', 'priorityClassName'), true);
    // A node pool's own pod template stands above that of the Kafka object (Strimzi, "Configuring node pools").
    const template = ['template', 'pod', 'priorityClassName'];
    const common = ofKind(release, 'Kafka').map((kafka) => textAt(kafka, 'spec', 'kafka', ...template))[0];
    for (const pool of ofKind(release, 'KafkaNodePool')) judge(pool, ['spec', ...template], textAt(pool, 'spec', ...template) ?? common, true);
    for (const each of holding) if (serving.some((other) => other >= each.value)) found.push(each.report());
    for (const definition of ofKind(release, 'PriorityClass')) {
      // 1,000,000,000 and more is kept for the system (Kubernetes, "Pod Priority and Preemption").
      if ((numberAt(definition, 'value') ?? 0) < 1 || (numberAt(definition, 'value') ?? 0) >= 1_000_000_000) found.push(violation(definition, ['value'], 'is not between 1 and a milliard'));
      if (definition['globalDefault'] === true) found.push(violation(definition, ['globalDefault'], 'raises every pod of the cluster'));
    }
    return found;
  },
};

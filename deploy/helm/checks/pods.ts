import { at, isObject, kindOf, listAt, nameOf, objectAt, textAt, textsAt, type Json, type JsonObject, type Release, type Step } from './manifests';

/** Where a kind keeps the pod that it makes. */
const TEMPLATE_PATHS: Readonly<Record<string, readonly Step[]>> = {
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
  Pod: [],
};

/** Anything that makes pods, and the pod that it makes. */
export interface Workload {
  readonly manifest: JsonObject;
  readonly kind: string;
  readonly name: string;
  /** The value of `app.kubernetes.io/component` on its pods. */
  readonly component: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly pod: JsonObject;
  /** Path of the pod's `spec` within the manifest. */
  readonly path: readonly Step[];
}

export interface Container {
  readonly spec: JsonObject;
  readonly name: string;
  readonly path: readonly Step[];
  readonly init: boolean;
}

export function workloads(release: Release): Workload[] {
  return release.manifests.flatMap((manifest) => {
    const path = TEMPLATE_PATHS[kindOf(manifest)];
    if (path === undefined) return [];
    const labels = textsAt(manifest, ...path, 'metadata', 'labels');
    return [{ manifest, kind: kindOf(manifest), name: nameOf(manifest), component: labels['app.kubernetes.io/component'], labels, pod: objectAt(manifest, ...path, 'spec'), path: [...path, 'spec'] }];
  });
}

/** Init containers first, as they run. */
export function containers(workload: Workload): Container[] {
  return (['initContainers', 'containers', 'ephemeralContainers'] as const).flatMap((field) =>
    listAt(workload.pod, field).map((spec, index): Container => ({
      spec: isObject(spec) ? spec : {},
      name: textAt(spec, 'name') ?? `${field}[${index}]`,
      path: [...workload.path, field, index],
      init: field === 'initContainers',
    })),
  );
}

export const SERVICES = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening'] as const;
export type ServiceName = (typeof SERVICES)[number];
export const isService = (component: string | undefined): component is ServiceName => SERVICES.some((service) => service === component);

/** The five services' Deployments; a rule that ranges over them must not be satisfied by their absence. */
export function serviceDeployments(release: Release): (Workload & { readonly service: ServiceName })[] {
  return workloads(release).flatMap((workload) => (workload.kind === 'Deployment' && isService(workload.component) ? [{ ...workload, service: workload.component }] : []));
}

/** The container that runs the service, by its name, else the first. */
export function mainContainer(workload: Workload): Container | undefined {
  const running = containers(workload).filter((container) => !container.init);
  return running.find(({ name }) => name === workload.component) ?? running[0];
}

/** A label selector as the API server reads it; an absent one selects nothing, an empty one everything. */
export function selects(selector: Json | undefined, labels: Readonly<Record<string, string>>): boolean {
  if (!isObject(selector)) return false;
  const exact = Object.entries(textsAt(selector, 'matchLabels')).every(([key, value]) => labels[key] === value);
  return exact && listAt(selector, 'matchExpressions').every((expression) => meets(expression, labels));
}

function meets(expression: Json, labels: Readonly<Record<string, string>>): boolean {
  const key = textAt(expression, 'key') ?? '';
  const values = listAt(expression, 'values');
  const value = labels[key];
  switch (textAt(expression, 'operator')) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}

/** A Service's selector: a plain map of labels. */
export function serviceSelects(service: JsonObject, labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(textsAt(service, 'spec', 'selector'));
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

/** Number of a port that is given by number or by name. */
export function portNumber(workload: Workload, port: Json | undefined): number | undefined {
  if (typeof port === 'number') return port;
  const found = containers(workload).flatMap((container) => listAt(container.spec, 'ports')).find((each) => textAt(each, 'name') === port);
  const number = at(found, 'containerPort');
  return typeof number === 'number' ? number : undefined;
}


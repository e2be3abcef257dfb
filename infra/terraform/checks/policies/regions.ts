import { ofType, text } from './policy';
import { networksOf, overlap } from './placement';
import type { Plan, Resource } from '../terraform';

/** An address without what differs between regions by nature: the zone's or peer's name in its index. */
const shape = ({ address }: Resource): string => address.replace(/"[^"]*"/g, (key) => key.replace(/\b[a-z]{2}(?:-[a-z]+)+-\d/g, 'REGION').replace(/\b(?:primary|secondary|witness)\b/g, 'PEER'));

/** What one region of a pair has and the other one has not. */
export function onlyInOneRegion(primary: readonly Resource[], secondary: readonly Resource[]): string[] {
  const count = (resources: readonly Resource[]): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const resource of resources) counts.set(shape(resource), (counts.get(shape(resource)) ?? 0) + 1);
    return counts;
  };
  const [a, b] = [count(primary), count(secondary)];
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => (a.get(key) ?? 0) !== (b.get(key) ?? 0)).map((key) => `${key}: ${a.get(key) ?? 0} in the primary, ${b.get(key) ?? 0} in the secondary`);
}

/** What the witness leaves out, and why; it has everything else that the primary has. */
export const notInTheWitness: Readonly<Record<string, string>> = {
  'module.edge': 'serves nobody',
  'aws_subnet.edge': 'serves nobody',
  'aws_internet_gateway': 'serves nobody and calls nobody',
  'aws_route_table.edge': 'serves nobody',
  'aws_route.edge': 'serves nobody',
  'aws_route_table_association.edge': 'serves nobody',
  'aws_eip.nat': 'calls nobody outside',
  'aws_nat_gateway': 'calls nobody outside',
  'aws_route.out': 'calls nobody outside',
  'metric_alarm.edge': 'has no edge',
  'metric_alarm.replication': 'has no buckets of its own',
  'node_group.this["services': 'runs no services',
  'node_group.this["kafka': 'has no Kafka: it votes on commits and executes nothing',
  'aws_ecr_': 'needs no images of services and of Kafka',
  '.pod["relayer"]': 'signs nothing',
  '.pod["paymaster"]': 'signs nothing',
  '.pod["postgres"]': 'archives nothing: both serving regions do',
  '.pod["compliance-screening"]': 'exports nothing',
};

/** What the primary has, the witness has not, and nobody gave a reason for. */
export function missingInTheWitness(primary: readonly Resource[], witness: readonly Resource[]): string[] {
  const there = new Set(witness.map(shape));
  return [...new Set(primary.map(shape))].filter((key) => !there.has(key) && Object.keys(notInTheWitness).every((part) => !key.includes(part)));
}

/** Resources of the global stack that stand in one region, with what stands for them in the others. */
const counterparts: readonly (readonly [of: string, by: string])[] = [
  ['module.kms.aws_kms_key.this', 'module.kms.aws_kms_replica_key.secondary'],
  ['module.kms.aws_kms_alias.primary', 'module.kms.aws_kms_alias.secondary'],
  ['module.traffic.aws_acm_certificate.primary', 'module.traffic.aws_acm_certificate.secondary'],
  ['module.traffic.aws_acm_certificate_validation.primary', 'module.traffic.aws_acm_certificate_validation.secondary'],
  ['aws_ssm_parameter.primary', 'aws_ssm_parameter.secondary'],
  ['aws_s3_bucket_replication_configuration.primary', 'aws_s3_bucket_replication_configuration.secondary'],
  ['.module.primary.', '.module.secondary.'],
];
/** Services that are not in a region: names, checks, identities, budgets; hand switches have endpoints in five regions. */
const worldwide = /^aws_(?:route53_|route53recoverycontrolconfig_|iam_|budgets_)/;

/** What the global stack has in the primary region alone. */
export function onlyInThePrimary(resources: readonly Resource[]): string[] {
  const addresses = new Set(resources.map(({ address }) => address));
  return resources.flatMap(({ address, type, values }) => {
    if (worldwide.test(type) || /\.secondary\b|\.witness\b/.test(address)) return [];
    if (type === 'aws_secretsmanager_secret') return Array.isArray(values['replica']) && values['replica'].length >= 2 ? [] : [`${address}: in one region only`];
    const pair = counterparts.find(([of]) => address.includes(of));
    return pair !== undefined && addresses.has(address.replace(pair[0], pair[1])) ? [] : [`${address}: in one region only`];
  });
}

/** Networks of all regions that share an address. */
export function overlaps(plans: readonly Plan[]): string[] {
  const networks = plans.flatMap(({ run, resources }) => networksOf(resources).map((cidr) => ({ run, cidr })));
  return networks.flatMap((a, i) => networks.slice(i + 1).flatMap((b) => (overlap(a.cidr, b.cidr) ? [`${a.run} ${a.cidr} and ${b.run} ${b.cidr}`] : [])));
}

/** Buckets that the global stack makes, which a region's plan must name as they are. */
export const bucketNames = (resources: readonly Resource[]): string[] => ofType(resources, 'aws_s3_bucket').map(({ values }) => text(values['bucket']));

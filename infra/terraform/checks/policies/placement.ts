import { at, added, broken, each, list, ofType, text, without, type Policy } from './policy';
import type { Resource } from '../terraform';

const number = (cidr: string): readonly [number, number] => {
  const [address = '', size = ''] = cidr.split('/');
  const value = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  return [value, value + 2 ** (32 - Number(size)) - 1];
};
/** Whether two ranges share an address. */
export const overlap = (a: string, b: string): boolean => {
  const [[fromA, toA], [fromB, toB]] = [number(a), number(b)];
  return fromA <= toB && fromB <= toA;
};
const inside = (inner: string, outer: string): boolean => {
  const [[from, to], [outerFrom, outerTo]] = [number(inner), number(outer)];
  return from >= outerFrom && to <= outerTo;
};

/** The networks that a region's plan would make: nodes, pods, Services. */
export const networksOf = (resources: readonly Resource[]): string[] => [
  ...ofType(resources, 'aws_vpc', 'aws_vpc_ipv4_cidr_block_association').map(({ values }) => text(values['cidr_block'])),
  ...ofType(resources, 'aws_eks_cluster').map(({ values }) => text(at(values, 'kubernetes_network_config', 0, 'service_ipv4_cidr'))),
];

/** What may stand in the way of traffic: names, checks, certificates and hand switches. Anything that acts (functions, rules, automation) would be a control plane. */
const trafficTypes = new Set(['aws_route53_zone', 'aws_route53_health_check', 'aws_route53_record', 'aws_acm_certificate', 'aws_acm_certificate_validation',
  'aws_route53recoverycontrolconfig_cluster', 'aws_route53recoverycontrolconfig_control_panel', 'aws_route53recoverycontrolconfig_routing_control', 'aws_route53recoverycontrolconfig_safety_rule']);

/** Where things stand, and what a failover needs. */
export const placementPolicies: readonly Policy[] = [
  {
    name: 'a region has three zones, and nodes of each purpose in each',
    check: (resources) => {
      const groups = ofType(resources, 'aws_eks_node_group');
      const purposes = new Set(groups.map(({ values }) => text(at(values, 'labels', 'settlement/purpose'))));
      return [...purposes].flatMap((purpose) => {
        // Mocked subnets all have one id; a group's name ends with its zone, which is also the key of its one subnet.
        const zones = new Set(groups.filter(({ values }) => at(values, 'labels', 'settlement/purpose') === purpose && list(values['subnet_ids']).length === 1).map(({ values }) => text(values['node_group_name']).slice(purpose.length + 1)));
        return zones.size >= 3 ? [] : [`nodes for ${purpose}: in ${zones.size} zones`];
      });
    },
    plant: (resources) => {
      const last = ofType(resources, 'aws_eks_node_group').at(-1);
      return last === undefined ? [] : [resources.filter((resource) => resource !== last)];
    },
  },
  {
    name: 'Kubernetes is 1.34 or later, with all logs and without a way in for who made it',
    check: each('aws_eks_cluster', 'too old, mute or open', (values) =>
      Number(text(values['version']).split('.')[1]) >= 34 && list(values['enabled_cluster_log_types']).length === 5 && at(values, 'access_config', 0, 'authentication_mode') === 'API' && at(values, 'access_config', 0, 'bootstrap_cluster_creator_admin_permissions') === false),
    plant: (resources) => [
      ...broken(resources, 'aws_eks_cluster', ['version'], '1.33'),
      ...broken(resources, 'aws_eks_cluster', ['enabled_cluster_log_types'], ['api']),
      ...broken(resources, 'aws_eks_cluster', ['access_config', 0, 'bootstrap_cluster_creator_admin_permissions'], true),
    ],
  },
  {
    name: 'networks, subnets, pods and Services of a region do not overlap, and subnets lie in their network',
    check: (resources) => {
      const networks = networksOf(resources);
      const subnets = ofType(resources, 'aws_subnet').map(({ address, values }) => ({ address, cidr: text(values['cidr_block']) }));
      return [
        ...subnets.flatMap(({ address, cidr }, i) => [
          ...(networks.some((network) => inside(cidr, network)) ? [] : [`${address}: outside of its network`]),
          ...(subnets.slice(i + 1).some((other) => overlap(cidr, other.cidr)) ? [`${address}: overlaps another subnet`] : []),
        ]),
        ...networks.flatMap((network, i) => (networks.slice(i + 1).some((other) => overlap(network, other)) ? [`${network}: overlaps another network`] : [])),
      ];
    },
    plant: (resources) => [
      ...broken(resources, 'aws_subnet', ['cidr_block'], '192.168.7.0/24'),
      ...broken(resources, 'aws_subnet', ['cidr_block'], text(ofType(resources, 'aws_subnet').at(-1)?.values['cidr_block'])),
      ...broken(resources, 'aws_eks_cluster', ['kubernetes_network_config', 0, 'service_ipv4_cidr'], text(ofType(resources, 'aws_vpc')[0]?.values['cidr_block'])),
    ],
  },
  {
    name: 'failover is health in the data plane: every answer hangs on a check, and nothing has to act',
    check: (resources) => {
      const traffic = resources.filter(({ address }) => address.startsWith('module.traffic.'));
      const answers = ofType(traffic, 'aws_route53_record').filter(({ name }) => name === 'api');
      return [
        ...traffic.filter(({ type }) => !trafficTypes.has(type)).map(({ address }) => `${address}: a failover would wait for it to act`),
        ...(traffic.length > 0 && answers.length < 2 ? ['module.traffic: the API has fewer than two answers'] : []),
        ...answers.flatMap(({ address, values }) => [
          ...(text(values['health_check_id']) !== '' ? [] : [`${address}: answered whether healthy or not`]),
          ...(at(values, 'alias', 0, 'evaluate_target_health') === true ? [] : [`${address}: ignores the health of its target`]),
          ...(Number(at(values, 'weighted_routing_policy', 0, 'weight')) > 0 ? [] : [`${address}: somebody would have to raise its weight`]),
        ]),
        ...ofType(traffic, 'aws_route53_health_check').flatMap(({ address, values }) =>
          values['type'] === 'CLOUDWATCH_METRIC' ? [`${address}: hangs on the alarms of one region`] : values['type'] === 'CALCULATED' && list(values['child_healthchecks']).length === 0 ? [`${address}: asks nobody`] : []),
      ];
    },
    plant: (resources) => (resources.every(({ address }) => !address.startsWith('module.traffic.')) ? [] : [
      ...broken(resources, 'aws_route53_record', ['health_check_id'], null, ({ name }) => name === 'api'),
      ...broken(resources, 'aws_route53_record', ['alias', 0, 'evaluate_target_health'], false, ({ name }) => name === 'api'),
      ...broken(resources, 'aws_route53_record', ['weighted_routing_policy', 0, 'weight'], 0, ({ name }) => name === 'api'),
      ...broken(resources, 'aws_route53_health_check', ['type'], 'CLOUDWATCH_METRIC'),
      added(resources, 'aws_lambda_function', {}, 'module.traffic.aws_lambda_function.failover'),
      resources.filter(({ address }) => !address.includes('aws_route53_record.api["secondary"]')),
    ]),
  },
  {
    name: 'spending is watched',
    check: (resources) => (resources.some(({ address }) => address.startsWith('module.traffic.')) && ofType(resources, 'aws_budgets_budget').length === 0 ? ['no budget'] : []),
    plant: (resources) => without(resources, 'aws_budgets_budget'),
  },
];

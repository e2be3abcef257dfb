import { added, at, broken, each, list, ofType, text, without, type Policy } from './policy';

const anybody = (cidr: unknown): boolean => cidr === '0.0.0.0/0' || cidr === '::/0';
const isEdge = (address: string): boolean => address.startsWith('module.edge');

/** Nothing but the edge's port 443 can be reached from outside, and nothing goes around the encrypted way. */
export const exposurePolicies: readonly Policy[] = [
  {
    name: 'the internet reaches port 443 of the edge and nothing else',
    check: (resources) => [
      ...ofType(resources, 'aws_vpc_security_group_ingress_rule').flatMap(({ address, values }) => {
        const open = anybody(values['cidr_ipv4']) || anybody(values['cidr_ipv6']);
        return !open || (isEdge(address) && values['from_port'] === 443 && values['to_port'] === 443 && values['ip_protocol'] === 'tcp') ? [] : [`${address}: open to the internet`];
      }),
      // Rules inside a group, or of the old kind, would not be seen by the line above.
      ...ofType(resources, 'aws_security_group_rule').map(({ address }) => `${address}: write rules as aws_vpc_security_group_ingress_rule`),
      ...ofType(resources, 'aws_security_group', 'aws_default_security_group').flatMap(({ address, values }) =>
        list(values['ingress']).some((rule) => list(at(rule, 'cidr_blocks')).some(anybody)) ? [`${address}: inline rule open to the internet`] : []),
    ],
    plant: (resources) => [
      added(resources, 'aws_vpc_security_group_ingress_rule', { cidr_ipv4: '0.0.0.0/0', from_port: 22, to_port: 22, ip_protocol: 'tcp' }),
      added(resources, 'aws_vpc_security_group_ingress_rule', { cidr_ipv6: '::/0', from_port: 443, to_port: 443, ip_protocol: 'tcp' }),
      added(resources, 'aws_vpc_security_group_ingress_rule', { cidr_ipv4: '0.0.0.0/0', from_port: 0, to_port: 65535, ip_protocol: 'tcp' }, 'module.edge[0].aws_vpc_security_group_ingress_rule.https'),
      added(resources, 'aws_security_group_rule', { type: 'ingress' }),
      added(resources, 'aws_security_group', { ingress: [{ cidr_blocks: ['0.0.0.0/0'] }] }),
    ],
  },
  {
    name: 'no balancer but the edge is public',
    check: (resources) => ofType(resources, 'aws_lb').flatMap(({ address, values }) => (values['internal'] === true || isEdge(address) ? [] : [`${address}: public`])),
    plant: (resources) => [...broken(resources, 'aws_lb', ['internal'], false, ({ address }) => !isEdge(address)), added(resources, 'aws_lb', { internal: false })],
  },
  {
    name: 'the Kubernetes API is private',
    check: each('aws_eks_cluster', 'the API is public', (values) => at(values, 'vpc_config', 0, 'endpoint_public_access') === false && at(values, 'vpc_config', 0, 'endpoint_private_access') === true),
    plant: (resources) => broken(resources, 'aws_eks_cluster', ['vpc_config', 0, 'endpoint_public_access'], true),
  },
  {
    name: 'no subnet and no instance gives out public addresses',
    check: (resources) => [
      ...each('aws_subnet', 'gives out public addresses', (values) => values['map_public_ip_on_launch'] === false)(resources),
      ...each('aws_launch_template', 'gives out public addresses', (values) => list(values['network_interfaces']).every((it) => at(it, 'associate_public_ip_address') !== 'true'))(resources),
    ],
    plant: (resources) => [...broken(resources, 'aws_subnet', ['map_public_ip_on_launch'], true), ...broken(resources, 'aws_launch_template', ['network_interfaces'], [{ associate_public_ip_address: 'true' }])],
  },
  {
    name: 'instance metadata asks for a token, and not from pods (IMDSv2, one hop)',
    check: each('aws_launch_template', 'metadata without a token', (values) => at(values, 'metadata_options', 0, 'http_tokens') === 'required' && at(values, 'metadata_options', 0, 'http_put_response_hop_limit') === 1),
    plant: (resources) => [
      ...broken(resources, 'aws_launch_template', ['metadata_options', 0, 'http_tokens'], 'optional'),
      ...broken(resources, 'aws_launch_template', ['metadata_options', 0, 'http_put_response_hop_limit'], 2),
      ...broken(resources, 'aws_launch_template', ['metadata_options'], []),
    ],
  },
  {
    name: 'no bucket can be made public, and each asks for TLS',
    check: (resources) =>
      ofType(resources, 'aws_s3_bucket').flatMap(({ address, values }) => {
        const beside = (type: string): unknown => ofType(resources, type).find((it) => at(it.values, 'bucket') === values['bucket'])?.values;
        const block = beside('aws_s3_bucket_public_access_block');
        const closed = ['block_public_acls', 'block_public_policy', 'ignore_public_acls', 'restrict_public_buckets'].every((name) => at(block, name) === true);
        const policy = text(at(beside('aws_s3_bucket_policy'), 'policy'));
        const tls = policy !== '' && list(at(JSON.parse(policy), 'Statement')).some((it) => at(it, 'Effect') === 'Deny' && at(it, 'Condition', 'Bool', 'aws:SecureTransport') === 'false' && at(it, 'Principal') === '*');
        return [...(closed ? [] : [`${address}: can be made public`]), ...(tls ? [] : [`${address}: answers without TLS`])];
      }),
    plant: (resources) => [
      ...without(resources, 'aws_s3_bucket_public_access_block'),
      ...broken(resources, 'aws_s3_bucket_public_access_block', ['restrict_public_buckets'], false),
      ...without(resources, 'aws_s3_bucket_policy'),
      ...broken(resources, 'aws_s3_bucket_policy', ['policy'], '{"Statement":[]}'),
    ],
  },
  {
    name: 'each network logs all its flows, and its default group is closed',
    check: (resources) =>
      ofType(resources, 'aws_vpc').length === 0 ? [] : [
        ...(ofType(resources, 'aws_flow_log').some(({ values }) => values['traffic_type'] === 'ALL') ? [] : ['aws_vpc: no flow log of all traffic']),
        ...(ofType(resources, 'aws_default_security_group').length > 0 ? [] : ['aws_vpc: the default group lets traffic in']),
      ],
    plant: (resources) => [...without(resources, 'aws_flow_log'), ...broken(resources, 'aws_flow_log', ['traffic_type'], 'REJECT'), ...without(resources, 'aws_default_security_group')],
  },
  {
    name: 'Postgres is reached from the other regions and the balancer only',
    check: (resources) =>
      ofType(resources, 'aws_vpc_security_group_ingress_rule').flatMap(({ address, values }) => {
        const postgres = Number(values['from_port']) <= 5432 && Number(values['to_port']) >= 5432;
        return !postgres || address.startsWith('module.postgres.') ? [] : [`${address}: a further way to Postgres`];
      }),
    plant: (resources) => [added(resources, 'aws_vpc_security_group_ingress_rule', { cidr_ipv4: '10.0.0.0/8', from_port: 5000, to_port: 6000, ip_protocol: 'tcp' })],
  },
  {
    name: 'the edge has a firewall that logs under our key',
    check: (resources) =>
      ofType(resources, 'aws_lb').some(({ values }) => values['internal'] === false) && (ofType(resources, 'aws_wafv2_web_acl_association').length === 0 || ofType(resources, 'aws_wafv2_web_acl_logging_configuration').length === 0)
        ? ['aws_lb: public without a firewall'] : [],
    plant: (resources) => [...without(resources, 'aws_wafv2_web_acl_association'), ...without(resources, 'aws_wafv2_web_acl_logging_configuration')],
  },
];

import { at, added, broken, list, ofType, text, type Policy } from './policy';
import type { Resource } from '../terraform';

/** Every `*` that stands in a policy, by statement, and why it has to. */
const reasons: Readonly<Record<string, string>> = {
  AccountAdministersThroughIam: 'a key policy: * is the key itself, and without its account nobody could ever change it',
  OneServiceSigns: 'a key policy: * is the key itself',
  UseThroughIam: 'a key policy: * is the key itself',
  GrantsForServices: 'a key policy: * is the key itself',
  LogGroupsOfThisRegion: 'a key policy: * is the key itself',
  AlarmsReachTheirTopic: 'a key policy: * is the key itself',
  AutoscalingStartsNodes: 'a key policy: * is the key itself',
  AutoscalingGrants: 'a key policy: * is the key itself',
  DescribeTargets: 'describing knows no resources',
  BucketsOfThisAccount: 'an endpoint policy: narrowed by the account of the resource and of the caller',
};

/** Provider-managed policies that roles may have; everything else is written out here. */
const managed = new Set(['AmazonEKSClusterPolicy', 'AmazonEKSWorkerNodeMinimalPolicy', 'AmazonEC2ContainerRegistryPullOnly', 'AmazonEKS_CNI_Policy', 'AmazonEBSCSIDriverPolicy']);

interface Statement {
  readonly address: string;
  readonly type: string;
  readonly value: unknown;
}

function statementsOf(resources: readonly Resource[], ...attributes: string[]): Statement[] {
  return resources.flatMap(({ address, type, values }) =>
    attributes.flatMap((attribute) => {
      const policy = text(values[attribute]);
      return policy.startsWith('{') ? list(at(JSON.parse(policy), 'Statement')).map((value) => ({ address, type, value })) : [];
    }));
}

const isRoot = (principal: unknown): boolean => /:root$/.test(text(at(principal, 'AWS')));
const planted = (statement: Record<string, unknown>): string => JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...statement }] });

/** Everybody may do what they are for. */
export const identityPolicies: readonly Policy[] = [
  {
    name: 'no policy allows * without a reason',
    check: (resources) =>
      statementsOf(resources, 'policy').flatMap(({ address, value }) => {
        if (at(value, 'Effect') !== 'Allow') return [];
        const sid = text(at(value, 'Sid'));
        // `ec2:*` and `*` are wild; a resource is wild where it names no resource. A prefix such as bucket/postgres/* is a place.
        const wild = [...list(at(value, 'Action')).map(text).filter((action) => action === '*' || action.endsWith(':*')), ...list(at(value, 'Resource')).map(text).filter((resource) => resource === '*')];
        return wild.length === 0 || sid in reasons ? [] : [`${address}: ${sid} allows ${wild.join(', ')} without a reason`];
      }),
    plant: (resources) => [
      added(resources, 'aws_iam_role_policy', { policy: planted({ Sid: 'Everything', Action: ['*'], Resource: ['*'] }) }),
      added(resources, 'aws_iam_role_policy', { policy: planted({ Sid: 'Buckets', Action: ['s3:*'], Resource: ['arn:aws:s3:::mine/*'] }) }),
      added(resources, 'aws_iam_role_policy', { policy: planted({ Sid: 'Keys', Action: ['kms:Decrypt'], Resource: ['*'] }) }),
    ],
  },
  {
    name: 'nobody in general is allowed anything',
    check: (resources) =>
      statementsOf(resources, 'policy', 'assume_role_policy').flatMap(({ address, type, value }) => {
        const anybody = at(value, 'Effect') === 'Allow' && (at(value, 'Principal') === '*' || at(value, 'Principal', 'AWS') === '*');
        // An endpoint's policy only narrows what the caller may do anyway.
        return anybody && type !== 'aws_vpc_endpoint' ? [`${address}: allows anybody`] : [];
      }),
    plant: (resources) => [
      added(resources, 'aws_s3_bucket_policy', { policy: planted({ Sid: 'Public', Principal: '*', Action: ['s3:GetObject'], Resource: ['arn:aws:s3:::mine/*'] }) }),
      added(resources, 'aws_iam_role', { assume_role_policy: planted({ Sid: 'Anyone', Principal: { AWS: '*' }, Action: 'sts:AssumeRole' }) }),
    ],
  },
  {
    name: 'a pod identity belongs to one service account of one cluster',
    check: (resources) =>
      statementsOf(resources, 'assume_role_policy').flatMap(({ address, value }) => {
        if (at(value, 'Principal', 'Service') !== 'pods.eks.amazonaws.com') return [];
        const bound = ['aws:RequestTag/kubernetes-namespace', 'aws:RequestTag/kubernetes-service-account', 'aws:SourceAccount'].every((name) => text(at(value, 'Condition', 'StringEquals', name)) !== '');
        return bound && /:cluster\/[\w-]+$/.test(text(at(value, 'Condition', 'ArnEquals', 'aws:SourceArn'))) ? [] : [`${address}: any pod could have it`];
      }),
    plant: (resources) => [added(resources, 'aws_iam_role', { assume_role_policy: planted({ Sid: 'PodIdentity', Principal: { Service: 'pods.eks.amazonaws.com' }, Action: ['sts:AssumeRole'] }) })],
  },
  {
    name: 'only the relayer and the paymaster of a region sign, and only digests',
    check: (resources) => [
      ...statementsOf(ofType(resources, 'aws_kms_key', 'aws_kms_replica_key'), 'policy').flatMap(({ address, value }) => {
        if (!list(at(value, 'Action')).some((action) => ['kms:Sign', 'kms:*'].includes(text(action)))) return [];
        // A key that keeps state or logs cannot sign, whatever its policy says.
        if (!/relayer|paymaster/.test(address)) return [];
        const who = text(at(value, 'Condition', 'ArnEquals', 'aws:PrincipalArn'));
        return isRoot(at(value, 'Principal')) && /-(relayer|paymaster)$/.test(who) && at(value, 'Condition', 'StringEquals', 'kms:MessageType') === 'DIGEST' ? [] : [`${address}: signs for others`];
      }),
      ...statementsOf(ofType(resources, 'aws_iam_role_policy'), 'policy').flatMap(({ address, value }) =>
        list(at(value, 'Action')).includes('kms:Sign') && !/\["(relayer|paymaster)"\]/.test(address) ? [`${address}: may sign`] : []),
    ],
    plant: (resources) => [
      added(resources, 'aws_kms_key', { policy: planted({ Sid: 'OneServiceSigns', Principal: { AWS: 'arn:aws:iam::111122223333:root' }, Action: ['kms:Sign'], Resource: '*' }) }, 'module.kms.aws_kms_key.this["relayer-0"]'),
      added(resources, 'aws_iam_role_policy', { policy: planted({ Sid: 'Sign', Action: ['kms:Sign'], Resource: ['arn:aws:kms:eu-central-1:111122223333:key/mrk-1'] }) }, 'module.cluster.aws_iam_role_policy.pod["metrics"]'),
    ],
  },
  {
    name: 'managed policies are the five that are known',
    check: (resources) => ofType(resources, 'aws_iam_role_policy_attachment').flatMap(({ address, values }) => (managed.has(text(values['policy_arn']).split('/').at(-1) ?? '') ? [] : [`${address}: ${text(values['policy_arn'])}`])),
    plant: (resources) => [...broken(resources, 'aws_iam_role_policy_attachment', ['policy_arn'], 'arn:aws:iam::aws:policy/AdministratorAccess'), added(resources, 'aws_iam_role_policy_attachment', { policy_arn: 'arn:aws:iam::aws:policy/PowerUserAccess' })],
  },
];

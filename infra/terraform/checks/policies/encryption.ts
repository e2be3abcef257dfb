import { at, broken, customerKey, each, list, ofType, text, without, type Policy } from './policy';

/** Data at rest is under keys of ours, which rotate and which nobody deletes by accident. */
export const encryptionPolicies: readonly Policy[] = [
  {
    name: 'each bucket is encrypted under a customer key',
    check: (resources) =>
      ofType(resources, 'aws_s3_bucket').flatMap(({ address, values }) => {
        const settings = ofType(resources, 'aws_s3_bucket_server_side_encryption_configuration').find((it) => at(it.values, 'bucket') === at(values, 'bucket'));
        const rule = at(settings?.values, 'rule', 0, 'apply_server_side_encryption_by_default', 0);
        return at(rule, 'sse_algorithm') === 'aws:kms' && customerKey(at(rule, 'kms_master_key_id')) ? [] : [`${address}: no customer key`];
      }),
    plant: (resources) => [
      ...without(resources, 'aws_s3_bucket_server_side_encryption_configuration'),
      ...broken(resources, 'aws_s3_bucket_server_side_encryption_configuration', ['rule', 0, 'apply_server_side_encryption_by_default', 0, 'sse_algorithm'], 'AES256'),
    ],
  },
  {
    name: 'each log group is under a customer key and ends some day',
    check: each('aws_cloudwatch_log_group', 'no customer key or no retention', (values) => customerKey(values['kms_key_id']) && Number(values['retention_in_days']) >= 7),
    plant: (resources) => [...broken(resources, 'aws_cloudwatch_log_group', ['kms_key_id'], null), ...broken(resources, 'aws_cloudwatch_log_group', ['retention_in_days'], 0)],
  },
  {
    name: 'Kubernetes secrets are under a customer key',
    check: each('aws_eks_cluster', 'secrets are not encrypted', (values) => customerKey(at(values, 'encryption_config', 0, 'provider', 0, 'key_arn')) && list(at(values, 'encryption_config', 0, 'resources')).includes('secrets')),
    plant: (resources) => broken(resources, 'aws_eks_cluster', ['encryption_config'], []),
  },
  {
    name: 'disks of nodes are under a customer key',
    check: each('aws_launch_template', 'a disk is not encrypted', (values) => {
      const devices = list(values['block_device_mappings']);
      return devices.length > 0 && devices.every((device) => at(device, 'ebs', 0, 'encrypted') === 'true' && customerKey(at(device, 'ebs', 0, 'kms_key_id')));
    }),
    plant: (resources) => [
      ...broken(resources, 'aws_launch_template', ['block_device_mappings', 0, 'ebs', 0, 'encrypted'], 'false'),
      ...broken(resources, 'aws_launch_template', ['block_device_mappings', 1, 'ebs', 0, 'kms_key_id'], ''),
    ],
  },
  {
    name: 'each secret, and each of its replicas, is under a customer key',
    check: each('aws_secretsmanager_secret', 'no customer key in some region', (values) => customerKey(values['kms_key_id']) && list(values['replica']).every((replica) => customerKey(at(replica, 'kms_key_id')))),
    plant: (resources) => [...broken(resources, 'aws_secretsmanager_secret', ['kms_key_id'], null), ...broken(resources, 'aws_secretsmanager_secret', ['replica', 0, 'kms_key_id'], '')],
  },
  {
    name: 'images, metrics and alarms are under customer keys',
    check: (resources) => [
      ...each('aws_ecr_repository', 'no customer key', (values) => at(values, 'encryption_configuration', 0, 'encryption_type') === 'KMS' && customerKey(at(values, 'encryption_configuration', 0, 'kms_key')))(resources),
      ...each('aws_prometheus_workspace', 'no customer key', (values) => customerKey(values['kms_key_arn']))(resources),
      ...each('aws_sns_topic', 'no customer key', (values) => customerKey(values['kms_master_key_id']))(resources),
    ],
    plant: (resources) => [
      ...broken(resources, 'aws_ecr_repository', ['encryption_configuration', 0, 'encryption_type'], 'AES256'),
      ...broken(resources, 'aws_prometheus_workspace', ['kms_key_arn'], null),
      ...broken(resources, 'aws_sns_topic', ['kms_master_key_id'], 'alias/aws/sns'),
    ],
  },
  {
    name: 'keys that can rotate do, and a deletion takes 30 days',
    check: (resources) => [
      ...each('aws_kms_key', 'does not rotate', (values) => values['key_usage'] === 'SIGN_VERIFY' || values['enable_key_rotation'] === true)(resources),
      ...each('aws_kms_key', 'is gone in less than 30 days', (values) => values['deletion_window_in_days'] === 30)(resources),
      ...each('aws_kms_replica_key', 'is gone in less than 30 days', (values) => values['deletion_window_in_days'] === 30)(resources),
    ],
    plant: (resources) => [
      ...broken(resources, 'aws_kms_key', ['enable_key_rotation'], false, ({ values }) => values['key_usage'] !== 'SIGN_VERIFY'),
      ...broken(resources, 'aws_kms_key', ['deletion_window_in_days'], 7),
      ...broken(resources, 'aws_kms_replica_key', ['deletion_window_in_days'], 7),
    ],
  },
  {
    name: 'replicas of buckets are encrypted under the key of their own region',
    check: each('aws_s3_bucket_replication_configuration', 'a replica is not under a customer key', (values) =>
      list(values['rule']).every((rule) => customerKey(at(rule, 'destination', 0, 'encryption_configuration', 0, 'replica_kms_key_id')) && at(rule, 'source_selection_criteria', 0, 'sse_kms_encrypted_objects', 0, 'status') === 'Enabled')),
    plant: (resources) => [
      ...broken(resources, 'aws_s3_bucket_replication_configuration', ['rule', 0, 'destination', 0, 'encryption_configuration'], []),
      ...broken(resources, 'aws_s3_bucket_replication_configuration', ['rule', 0, 'source_selection_criteria', 0, 'sse_kms_encrypted_objects', 0, 'status'], 'Disabled'),
    ],
  },
  {
    name: 'balancers speak TLS 1.2 or later where they speak to the internet',
    check: each('aws_lb_listener', 'clear text or old TLS', (values) => values['protocol'] === 'TCP' || (values['protocol'] === 'HTTPS' && /TLS13-1-[23]/.test(text(values['ssl_policy'])))),
    plant: (resources) => [
      ...broken(resources, 'aws_lb_listener', ['ssl_policy'], 'ELBSecurityPolicy-2016-08', ({ values }) => values['protocol'] === 'HTTPS'),
      ...broken(resources, 'aws_lb_listener', ['protocol'], 'HTTP', ({ values }) => values['protocol'] === 'HTTPS'),
    ],
  },
];

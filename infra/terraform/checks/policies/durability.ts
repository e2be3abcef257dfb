import { at, broken, each, list, ofType, text, without, type Policy } from './policy';
import type { Resource } from '../terraform';

const locked = (resources: readonly Resource[]): Resource[] => ofType(resources, 'aws_s3_bucket').filter(({ values }) => values['object_lock_enabled'] === true);

/** What was kept can be found again: versions, locks, copies, and nothing that deletes in one step. */
export const durabilityPolicies: readonly Policy[] = [
  {
    name: 'each bucket keeps versions',
    check: (resources) =>
      ofType(resources, 'aws_s3_bucket').flatMap(({ address, values }) =>
        ofType(resources, 'aws_s3_bucket_versioning').some((it) => it.values['bucket'] === values['bucket'] && at(it.values, 'versioning_configuration', 0, 'status') === 'Enabled') ? [] : [`${address}: not versioned`]),
    plant: (resources) => [...without(resources, 'aws_s3_bucket_versioning'), ...broken(resources, 'aws_s3_bucket_versioning', ['versioning_configuration', 0, 'status'], 'Suspended')],
  },
  {
    name: 'backups and audit exports are locked',
    check: (resources) => [
      ...ofType(resources, 'aws_s3_bucket').flatMap(({ address, values }) => (/-(backups|audit)-/.test(text(values['bucket'])) && values['object_lock_enabled'] !== true ? [`${address}: not locked`] : [])),
      ...locked(resources).flatMap(({ address, values }) =>
        ofType(resources, 'aws_s3_bucket_object_lock_configuration').some((it) => it.values['bucket'] === values['bucket'] && Number(at(it.values, 'rule', 0, 'default_retention', 0, 'days')) >= 1) ? [] : [`${address}: no default retention`]),
    ],
    plant: (resources) => [...broken(resources, 'aws_s3_bucket', ['object_lock_enabled'], false, ({ values }) => values['object_lock_enabled'] === true), ...without(resources, 'aws_s3_bucket_object_lock_configuration')],
  },
  {
    name: 'no rule removes what is current, and versions outlast their lock',
    check: (resources) =>
      ofType(resources, 'aws_s3_bucket_lifecycle_configuration').flatMap(({ address, values }) => {
        const lock = ofType(resources, 'aws_s3_bucket_object_lock_configuration').find((it) => it.values['bucket'] === values['bucket']);
        const lockedDays = Number(at(lock?.values, 'rule', 0, 'default_retention', 0, 'days') ?? 0);
        return list(values['rule']).flatMap((rule) => [
          ...(list(at(rule, 'expiration')).some((it) => Number(at(it, 'days') ?? 0) > 0 || text(at(it, 'date')) !== '') ? [`${address}: removes what is current`] : []),
          ...(Number(at(rule, 'noncurrent_version_expiration', 0, 'noncurrent_days')) >= lockedDays ? [] : [`${address}: versions go before their lock does`]),
        ]);
      }),
    plant: (resources) => [
      ...broken(resources, 'aws_s3_bucket_lifecycle_configuration', ['rule', 0, 'expiration'], [{ days: 30 }]),
      ...broken(resources, 'aws_s3_bucket_lifecycle_configuration', ['rule', 0, 'noncurrent_version_expiration', 0, 'noncurrent_days'], 0),
    ],
  },
  {
    name: 'each locked bucket is copied to another region, in time, and without deletions',
    check: (resources) =>
      locked(resources).flatMap(({ address, values }) => {
        const rule = at(ofType(resources, 'aws_s3_bucket_replication_configuration').find((it) => it.values['bucket'] === values['bucket'])?.values, 'rule', 0);
        const target = text(at(rule, 'destination', 0, 'bucket')).replace('arn:aws:s3:::', '');
        return [
          ...(at(rule, 'status') === 'Enabled' && target !== '' && target !== values['bucket'] ? [] : [`${address}: no copy elsewhere`]),
          ...(at(rule, 'destination', 0, 'replication_time', 0, 'status') === 'Enabled' && at(rule, 'destination', 0, 'metrics', 0, 'status') === 'Enabled' ? [] : [`${address}: nobody knows how late the copy is`]),
          ...(at(rule, 'delete_marker_replication', 0, 'status') === 'Disabled' ? [] : [`${address}: a deletion is copied`]),
        ];
      }),
    plant: (resources) => (locked(resources).length === 0 ? [] : [
      ...without(resources, 'aws_s3_bucket_replication_configuration'),
      ...broken(resources, 'aws_s3_bucket_replication_configuration', ['rule', 0, 'destination', 0, 'replication_time'], []),
      ...broken(resources, 'aws_s3_bucket_replication_configuration', ['rule', 0, 'delete_marker_replication', 0, 'status'], 'Enabled'),
      ...broken(resources, 'aws_s3_bucket_replication_configuration', ['rule', 0, 'status'], 'Disabled'),
    ]),
  },
  {
    name: 'nothing that holds data or names can be deleted in one step',
    check: (resources) => [
      ...each('aws_s3_bucket', 'deleted with its contents', (values) => values['force_destroy'] === false)(resources),
      ...each('aws_route53_zone', 'deleted with its names', (values) => values['force_destroy'] === false)(resources),
      ...each('aws_ecr_repository', 'deleted with its images', (values) => values['force_delete'] === false)(resources),
      ...each('aws_lb', 'no deletion protection', (values) => values['enable_deletion_protection'] === true)(resources),
      ...each('aws_secretsmanager_secret', 'gone in less than 30 days', (values) => values['recovery_window_in_days'] === 30)(resources),
    ],
    plant: (resources) => [
      ...broken(resources, 'aws_s3_bucket', ['force_destroy'], true),
      ...broken(resources, 'aws_route53_zone', ['force_destroy'], true),
      ...broken(resources, 'aws_ecr_repository', ['force_delete'], true),
      ...broken(resources, 'aws_lb', ['enable_deletion_protection'], false),
      ...broken(resources, 'aws_secretsmanager_secret', ['recovery_window_in_days'], 0),
    ],
  },
  {
    name: 'a tag of an image means one image for ever',
    check: each('aws_ecr_repository', 'tags can be moved', (values) => values['image_tag_mutability'] === 'IMMUTABLE'),
    plant: (resources) => broken(resources, 'aws_ecr_repository', ['image_tag_mutability'], 'MUTABLE'),
  },
];

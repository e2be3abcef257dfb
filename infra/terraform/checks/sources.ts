import { globSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { blocksOf, children, type Block } from './hcl';
import { source } from './terraform';

/** What a plan does not show, read from the source: lifecycles, providers, backends, whose state is read. Path → text. */
export type Sources = ReadonlyMap<string, string>;

export function sourcesOfRepository(): Sources {
  const files = globSync('{modules,stacks,environments}/**/*.{tf,tfvars,tfbackend}', { cwd: source, exclude: ['**/.terraform/**'] });
  return new Map(files.sort().map((path) => [path, readFileSync(join(source, path), 'utf8')]));
}

export interface SourcePolicy {
  readonly name: string;
  readonly check: (sources: Sources) => string[];
  readonly plant: (sources: Sources) => Sources[];
}

interface Placed {
  readonly path: string;
  readonly block: Block;
}

const configuration = (sources: Sources, under = ''): Placed[] =>
  [...sources].flatMap(([path, text]) => (path.endsWith('.tf') && path.startsWith(under) ? blocksOf(text).map((block) => ({ path, block })) : []));

const edited = (sources: Sources, path: string, from: string | RegExp, to: string): Sources => {
  const text = sources.get(path);
  if (text === undefined || text.replace(from, to) === text) throw new Error(`${path} has no ${String(from)} to break`);
  return new Map([...sources, [path, text.replace(from, to)]]);
};
const appended = (sources: Sources, path: string, text: string): Sources => new Map([...sources, [path, `${sources.get(path) ?? ''}\n${text}\n`]]);

/** Modules that a folder uses, and those that they use. */
function modulesOf(sources: Sources, folder: string): Set<string> {
  const used = configuration(sources, `${folder}/`).flatMap(({ path, block }) =>
    block.type === 'module' ? [posix.join(dirname(path), (block.attributes.get('source') ?? '').replaceAll('"', ''))] : []);
  return new Set(used.flatMap((module) => [module, ...modulesOf(sources, module)]));
}

/** What would take data, keys, names or the way to them along. */
const kept = new Set(['aws_s3_bucket', 'aws_kms_key', 'aws_kms_replica_key', 'aws_eks_cluster', 'aws_secretsmanager_secret', 'aws_route53_zone', 'aws_ecr_repository',
  'aws_prometheus_workspace', 'aws_vpc', 'aws_lb', 'aws_vpc_peering_connection']);

const tags = ['application', 'environment', 'stack', 'managed-by'];

/** A backend file by its name: whose state it is, and where it therefore is. */
function backendProblems(sources: Sources): string[] {
  const keys = new Set<string>();
  return [...sources].filter(([path]) => path.endsWith('.tfbackend')).flatMap(([path, text]) => {
    const [, environment = '', name = ''] = /^environments\/(\w+)\/backend\/([\w-]+)\.s3\.tfbackend$/.exec(path) ?? [];
    const set = new Map([...text.matchAll(/^(\w+)\s*=\s*"?([^"\n]*?)"?$/gm)].map(([, key = '', value = '']) => [key, value]));
    const region = set.get('region') ?? '';
    const role = /^region-(\w+)$/.exec(name)?.[1];
    const plan = sources.get(`environments/${environment}/plan.tfvars`) ?? '';
    const own = role === undefined ? undefined : new RegExp(`${role} = \\{\\s+name\\s+= "([^"]+)"`).exec(plan)?.[1];
    const account = /account_id\s+= "(\d+)"/.exec(plan)?.[1] ?? '';
    const key = `${set.get('bucket') ?? ''}/${set.get('key') ?? ''}`;
    const doubled = keys.has(key);
    keys.add(key);
    return [
      ...(doubled ? [`${path}: two stacks in one state`] : []),
      ...(own !== undefined && own !== region ? [`${path}: state of ${own} would be in ${region}`] : []),
      ...(set.get('bucket') === `settlement-${environment}-state-${region}-${account}` ? [] : [`${path}: not the bucket of its region, environment and account`]),
      ...((set.get('key') ?? '').startsWith(`states/${region}/`) ? [] : [`${path}: its key does not begin with its region`]),
      ...((set.get('kms_key_id') ?? '').startsWith(`arn:aws:kms:${region}:${account}:`) && set.get('encrypt') === 'true' ? [] : [`${path}: not under a key of its region`]),
      ...(set.get('use_lockfile') === 'true' ? [] : [`${path}: two at a time could write it`]),
    ];
  });
}

const region = 'stacks/region/main.tf';
const backend = 'environments/production/backend/region-secondary.s3.tfbackend';

export const sourcePolicies: readonly SourcePolicy[] = [
  {
    name: 'what holds data, keys or names refuses to be destroyed',
    check: (sources) =>
      configuration(sources).flatMap(({ path, block }) => {
        if (block.type !== 'resource' || !kept.has(block.labels[0] ?? '')) return [];
        return children(block, 'lifecycle').some((lifecycle) => lifecycle.attributes.get('prevent_destroy') === 'true') ? [] : [`${path}: ${block.labels.join('.')} can be destroyed`];
      }),
    plant: (sources) => [
      edited(sources, 'modules/bucket/main.tf', 'prevent_destroy = true', 'prevent_destroy = false'),
      appended(sources, 'modules/kms/main.tf', 'resource "aws_kms_key" "planted" {\n  enable_key_rotation = true\n}'),
    ],
  },
  {
    name: "a region's stack reads no state and asks no other region",
    check: (sources) => {
      const modules = modulesOf(sources, 'stacks/region');
      const files = configuration(sources).filter(({ path }) => path.startsWith('stacks/region/') || modules.has(dirname(path)));
      return files.flatMap(({ path, block }) => [
        ...(block.type === 'data' && block.labels[0] !== 'aws_ssm_parameter' ? [`${path}: data ${block.labels.join('.')}: only parameters of its own region`] : []),
        ...(block.type === 'provider' && (block.attributes.has('alias') || block.attributes.get('region') !== 'var.regions[var.role].name') ? [`${path}: a provider of another region`] : []),
        ...(block.type === 'terraform' && /configuration_aliases/.test(block.body) ? [`${path}: asks for a provider of another region`] : []),
        ...(/\bprovider\s*=/.test([...block.attributes.keys()].map((name) => `${name} =`).join('\n')) ? [`${path}: ${block.labels.join('.')} is in another region`] : []),
      ]);
    },
    plant: (sources) => [
      appended(sources, region, 'data "terraform_remote_state" "primary" {\n  backend = "s3"\n}'),
      appended(sources, region, 'provider "aws" {\n  alias  = "other"\n  region = "eu-west-1"\n}'),
      appended(sources, 'modules/network/main.tf', 'data "aws_vpc" "peer" {\n  id = "vpc-1"\n}'),
      edited(sources, 'modules/postgres/main.tf', /version = "~> 5\.100"/, 'version = "~> 5.100"\n      configuration_aliases = [aws.peer]'),
    ],
  },
  {
    name: 'no stack reads another one\'s state',
    check: (sources) => configuration(sources).flatMap(({ path, block }) => (block.type === 'data' && block.labels[0] === 'terraform_remote_state' ? [`${path}: reads the state of another stack`] : [])),
    plant: (sources) => [appended(sources, 'stacks/interconnect/main.tf', 'data "terraform_remote_state" "region" {\n  backend = "s3"\n}')],
  },
  {
    name: 'the state of each region is in that region, encrypted, locked, and its own',
    check: backendProblems,
    plant: (sources) => [
      edited(sources, backend, /eu-west-1/g, 'eu-central-1'),
      edited(sources, backend, 'encrypt      = true', 'encrypt      = false'),
      edited(sources, backend, 'use_lockfile = true', 'use_lockfile = false'),
      edited(sources, backend, 'production', 'drill'),
      new Map([...sources, ['environments/production/backend/other.s3.tfbackend', sources.get(backend) ?? '']]),
    ],
  },
  {
    name: 'each stack has a partial backend, a provider of one exact version, one account, and tags on everything',
    check: (sources) =>
      ['bootstrap', 'global', 'interconnect', 'region'].flatMap((stack) => {
        const blocks = configuration(sources, `stacks/${stack}/`).map(({ block }) => block);
        const settings = blocks.find((block) => block.type === 'terraform');
        return [
          ...(children(settings ?? { type: '', labels: [], body: '', blocks: [], attributes: new Map() }, 'backend').some((it) => it.labels[0] === 's3' && it.body.trim() === '') ? [] : [`${stack}: no partial backend`]),
          ...(/version = "5\.100\.0"/.test(settings?.body ?? '') ? [] : [`${stack}: the provider is not pinned`]),
          ...blocks.filter((block) => block.type === 'provider').flatMap((block) => [
            ...(block.attributes.get('allowed_account_ids') === '[var.account_id]' ? [] : [`${stack}: a provider would work in any account`]),
            ...(tags.every((tag) => new RegExp(`\\b${tag}\\s+=`).test(children(block, 'default_tags')[0]?.body ?? '')) ? [] : [`${stack}: a provider without all tags`]),
          ]),
        ];
      }),
    plant: (sources) => [
      edited(sources, region, 'backend "s3" {}', ''),
      edited(sources, region, '"5.100.0"', '">= 5.0"'),
      edited(sources, region, /allowed_account_ids = .*/, ''),
      edited(sources, 'stacks/global/main.tf', /managed-by .*/, ''),
    ],
  },
  {
    name: 'no key, password or token is written down',
    check: (sources) =>
      [...sources].flatMap(([path, text]) => (/AKIA[0-9A-Z]{16}|-----BEGIN|(?:password|secret|token)\s*=\s*"[^"$]+"/i.test(text) ? [`${path}: looks like a secret`] : [])),
    plant: (sources) => [appended(sources, region, 'locals {\n  password = "planted"\n}'), appended(sources, 'environments/drill/region.tfvars', `key = "AKIA${'A'.repeat(16)}"`)],
  },
  {
    name: 'secrets are containers only: no value passes through Terraform',
    check: (sources) => configuration(sources).flatMap(({ path, block }) => (['aws_secretsmanager_secret_version', 'aws_iam_access_key', 'aws_iam_user', 'random_password', 'tls_private_key'].includes(block.labels[0] ?? '') ? [`${path}: ${block.labels.join('.')} puts a secret into the state`] : [])),
    plant: (sources) => [appended(sources, 'modules/secrets/main.tf', 'resource "aws_secretsmanager_secret_version" "it" {\n  secret_string = var.it\n}')],
  },
  {
    name: 'variables and outputs say what they are, and each module has a user',
    check: (sources) => {
      const all = configuration(sources);
      const used = new Set(['bootstrap', 'global', 'interconnect', 'region'].flatMap((stack) => [...modulesOf(sources, `stacks/${stack}`)]));
      const folders = new Set(all.map(({ path }) => dirname(path)).filter((folder) => folder.startsWith('modules/')));
      return [
        ...all.flatMap(({ path, block }) => (['variable', 'output'].includes(block.type) && !block.attributes.has('description') ? [`${path}: ${block.type} ${block.labels[0] ?? ''} has no description`] : [])),
        ...[...folders].filter((folder) => !used.has(folder)).map((folder) => `${folder}: no stack uses it, so nothing validates it`),
      ];
    },
    plant: (sources) => [appended(sources, region, 'variable "planted" {\n  type = string\n}'), new Map([...sources, ['modules/planted/main.tf', 'locals {\n}']])],
  },
];

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { whyMissing } from '@settlement/cluster/platform-tools';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parse } from 'yaml';
import { disagreements, documents, identify, rendering, type Installation } from './chart-agreement';
import { chartSchema, releaseValues } from './helm-values';
import { durabilityPolicies } from './policies/durability';
import { encryptionPolicies } from './policies/encryption';
import { exposurePolicies } from './policies/exposure';
import { identityPolicies } from './policies/identity';
import { placementPolicies } from './policies/placement';
import { bucketNames, missingInTheWitness, onlyInOneRegion, onlyInThePrimary, overlaps } from './policies/regions';
import { environments, initialisedCopy, source, stacks, terraform, terraformMissing, test, testAndPlan, type EnvironmentName, type Plan, type Stack, type Workspace } from './terraform';

// Planned with mocks, never applied to a cloud: what is proved here is that the configuration is valid for this provider, that its own
// tests hold, and that what it plans keeps the policies. That a cloud then does what was planned is proved by no line of this.
const missing = await terraformMissing();
let workspace: Workspace | undefined;
if (missing === undefined) workspace = await initialisedCopy();
const why = missing ?? workspace?.unavailable;
const noHelm = await whyMissing('helm');
if (why === undefined && noHelm !== undefined) process.stderr.write(`\n*** THE CHART IS NOT RENDERED WITH TERRAFORM'S VALUES HERE: ${noHelm} ***\n\n`);
if (why !== undefined) process.stderr.write(`\n*** TERRAFORM IS NOT CHECKED HERE: ${why}. Only its sources were read. ***\n\n`);

const copy = (): Workspace => {
  if (workspace === undefined) throw new Error('no workspace');
  return workspace;
};
afterAll(() => workspace?.remove());

const plans = new Map<string, readonly Plan[]>();
const planOf = (environment: EnvironmentName, run: string): Plan => {
  const found = plans.get(environment)?.find((plan) => plan.run === run);
  if (found === undefined) throw new Error(`no plan of ${run} in ${environment}`);
  return found;
};

describe.skipIf(missing !== undefined)('the sources', () => {
  it('are formatted', async () => {
    expect(await terraform(['fmt', '-check', '-recursive', '-diff', '.'], source)).toEqual({ code: 0, output: '' });
  });
  it('are found out when one is not', async () => {
    writeFileSync(join(copy().folder, 'planted.tf'), 'locals {\n a    = 1\n}\n');
    const { code, output } = await terraform(['fmt', '-check', '.'], copy().folder);
    rmSync(join(copy().folder, 'planted.tf'));
    expect([code === 0, output]).toEqual([false, 'planted.tf\n']);
  });
});

describe.skipIf(why !== undefined)('with a provider', () => {
  it.each(stacks)('%s is valid, and so is each module that it uses', async (stack) => {
    // Without the tests: validate takes a module that a run names for a root, which has no providers for its aliases. `terraform test` checks them.
    expect(await terraform(['validate', '-no-tests'], copy().stack(stack))).toMatchObject({ code: 0 });
  }, 600_000);

  describe('its own tests hold', () => {
    const others: readonly (readonly [Stack, readonly string[]])[] = [['bootstrap', ['bootstrap']], ['global', ['modules']], ['interconnect', ['modules']], ['region', ['modules', 'refusals']]];
    it.each(others)('%s: %s', async (stack, files) => {
      const { code, output } = await test(copy(), stack, 'production', files);
      expect(output).toContain(', 0 failed');
      expect(code).toBe(0);
    }, 600_000);

    // The lines of the drill differ from production's in addresses alone, which the plans of its regions hold.
    const planned: readonly (readonly [EnvironmentName, Stack, string])[] = environments.flatMap((environment) =>
      ([...(environment === 'production' ? ['interconnect'] as const : []), 'global', 'region'] as const).map((stack) => [environment, stack, stack] as const));
    it.each(planned)('%s: %s', async (environment, stack, file) => {
      const ran = await testAndPlan(copy(), stack, environment, file);
      expect(ran.code, ran.output).toBe(0);
      plans.set(environment, [...(plans.get(environment) ?? []), ...ran.plans]);
    }, 600_000);
  });

  describe.each(environments)('the plan of %s', (environment) => {
    const runs = ['primary', 'secondary', 'witness', 'environment', ...(environment === 'production' ? ['lines'] : [])];
    const policies = [...encryptionPolicies, ...exposurePolicies, ...durabilityPolicies, ...identityPolicies, ...placementPolicies];

    it.each(policies)('$name', ({ check }) => {
      expect(runs.flatMap((run) => check(planOf(environment, run).resources))).toEqual([]);
    });

    it.each(policies)('$name: each planted violation is found', ({ check, plant }) => {
      const planted = runs.flatMap((run) => plant(planOf(environment, run).resources));
      expect(planted.length).toBeGreaterThan(0);
      expect(planted.map((resources) => check(resources).length > 0)).toEqual(planted.map(() => true));
    });

    it('has nothing in one serving region that the other one lacks', () => {
      const [primary, secondary] = [planOf(environment, 'primary').resources, planOf(environment, 'secondary').resources];
      expect(onlyInOneRegion(primary, secondary)).toEqual([]);
      expect(onlyInOneRegion(primary, secondary.slice(1))).toHaveLength(1);
    });

    it('has in the witness what the primary has, but for what has a reason', () => {
      const [primary, witness] = [planOf(environment, 'primary').resources, planOf(environment, 'witness').resources];
      expect(missingInTheWitness(primary, witness)).toEqual([]);
      expect(missingInTheWitness(primary, witness.filter(({ type }) => type !== 'aws_flow_log'))).toHaveLength(1);
    });

    it('has nothing shared in the primary region alone', () => {
      const { resources } = planOf(environment, 'environment');
      expect(onlyInThePrimary(resources)).toEqual([]);
      expect(onlyInThePrimary(resources.filter(({ address }) => address !== 'module.kms.aws_kms_replica_key.secondary["backups"]'))).toEqual(['module.kms.aws_kms_key.this["backups"]: in one region only']);
      expect(onlyInThePrimary([...resources, { address: 'aws_sqs_queue.it', type: 'aws_sqs_queue', name: 'it', values: {} }])).toEqual(['aws_sqs_queue.it: in one region only']);
    });

    it('gives the regions, their pods and their Services addresses that do not overlap', () => {
      const regions = ['primary', 'secondary', 'witness'].map((run) => planOf(environment, run));
      expect(overlaps(regions)).toEqual([]);
      expect(overlaps([...regions, planOf(environment, 'primary')])).not.toEqual([]);
    });

    it('lets regions and buckets meet by their names', () => {
      const buckets = bucketNames(planOf(environment, 'environment').resources);
      const named = ['primary', 'secondary'].flatMap((run) => JSON.stringify(planOf(environment, run).resources).match(/settlement-\w+-(?:backups|audit)-[a-z0-9-]+-\d{12}/g) ?? []);
      expect(new Set(named)).toEqual(new Set(buckets));
    });

    describe.each(['primary', 'secondary', 'witness'])('the chart, with the values of the %s', (role) => {
      const values = (): string => {
        const output = planOf(environment, role).outputs.get('helm_values');
        return z.string().parse(output);
      };
      it('has only what its schema knows', () => {
        const validate = chartSchema();
        validate(releaseValues(environment === 'production' ? 'production' : 'staging', values()));
        expect(validate.errors ?? []).toEqual([]);
      });
      it('is refused with a name that the schema does not know', () => {
        expect(chartSchema()(releaseValues('production', `${values()}\nplanted: 1\n`))).toBe(false);
      });
      describe.skipIf(noHelm !== undefined)('rendered', () => {
        const overlay = environment === 'production' ? 'production' : 'staging';
        let release: Promise<string> | undefined;
        const accepted = async (): Promise<string> => {
          const { ok, output } = await rendering(overlay, values());
          if (!ok) throw new Error(output);
          return output;
        };
        const installation = async (): Promise<Installation> => {
          release ??= accepted();
          const { outputs, resources } = planOf(environment, role);
          return { release: documents(await release), before: documents(z.string().parse(outputs.get('manifests'))), region: resources, shared: planOf(environment, 'environment').resources };
        };
        const planted: readonly (readonly [string, (installed: Installation) => Installation])[] = [
          ['its service accounts', (installed) => ({ ...installed, release: installed.release.filter((it) => !identify(it).startsWith('ServiceAccount/') && !identify(it).startsWith('Cluster/')) })],
          ['the Service behind a balancer', (installed) => ({ ...installed, release: installed.release.filter((it) => !identify(it).startsWith('Service/') && !identify(it).startsWith('Cluster/')) })],
          ['repositories of images', (installed) => ({ ...installed, region: installed.region.filter(({ type }) => type !== 'aws_ecr_repository') })],
          ['storage classes', (installed) => ({ ...installed, before: installed.before.filter((it) => !identify(it).startsWith('StorageClass/')) })],
          ...(role === 'witness' ? [] : [
            ['nodes', (installed: Installation) => ({ ...installed, region: installed.region.filter(({ type }) => type !== 'aws_eks_node_group') })] as const,
            ['secrets', (installed: Installation) => ({ ...installed, shared: installed.shared.filter(({ type }) => type !== 'aws_secretsmanager_secret') })] as const,
            ['a store of backups', (installed: Installation) => ({ ...installed, before: installed.before.filter((it) => !identify(it).startsWith('ObjectStore/')) })] as const,
          ]),
        ];
        it('agrees with what stands around it, and is found out without any of it', async () => {
          const installed = await installation();
          expect(disagreements(installed)).toEqual([]);
          expect(planted.map(([what, without]) => [what, disagreements(without(installed)).length > 0])).toEqual(planted.map(([what]) => [what, true]));
        });
        it('has the parts of its role', async () => {
          const there = (await installation()).release.map(identify);
          const serving = ['Deployment/settlement-gateway', 'Deployment/settlement-relayer', 'Deployment/settlement-paymaster', 'Deployment/settlement-batch-settlement', 'Deployment/settlement-compliance-screening', 'Kafka/settlement', 'ScheduledBackup/settlement-postgres'];
          const witness = ['Cluster/settlement-postgres', 'NetworkPolicy/settlement-default-deny', 'NetworkPolicy/settlement-dns', 'NetworkPolicy/settlement-postgres', 'PriorityClass/settlement-data'];
          if (role === 'witness') expect(there.sort()).toEqual(witness);
          else expect(there).toEqual(expect.arrayContaining([...serving, 'Cluster/settlement-postgres']));
        });
        it('is refused by the chart in another role', async () => {
          const { ok, output } = await rendering(overlay, role === 'witness' ? values().replace('"role": "witness"', '"role": "serving"') : values().replace('"role": "serving"', '"role": "witness"'));
          expect([ok, output]).toEqual([false, expect.stringMatching(role === 'witness' ? /postgres\.instances below 3/ : /postgres\.instances must be 1/)]);
        });
      });
      it('waits for the two other regions', () => {
        const { postgres, region } = z.object({ postgres: z.object({ voters: z.array(z.string()) }), region: z.object({ name: z.string() }) }).parse(parse(values()));
        expect(postgres.voters).toHaveLength(2);
        expect(postgres.voters).not.toContain(region.name);
      });
    });
  });
});

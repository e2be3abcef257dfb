import { at, listAt, numberAt, textAt, violation, type Policy, type Violation } from '../manifests';
import { environmentOf } from '../environment';
import { mainContainer, serviceDeployments, workloads } from '../pods';

/**
 * Migrations run once a revision in a Job, under a lock in the database, while services wait for them: a service that migrated
 * at its start would do so in every replica and lose the grace of its startup probe.
 */
export const migration: Policy = {
  rule: 'each service has one migration Job of the same image and database, and waits for it instead of migrating itself',
  check(release) {
    const jobs = workloads(release).filter(({ kind }) => kind === 'Job');
    return serviceDeployments(release).flatMap((workload): Violation[] => {
      const { manifest, service } = workload;
      const container = mainContainer(workload);
      if (container === undefined) return [];
      const found: Violation[] = [];
      const mode = environmentOf(release, container.spec)['MIGRATIONS'];
      if (mode !== 'wait') found.push(violation(manifest, container.path, `MIGRATIONS is ${mode ?? 'missing'} instead of wait`));
      const own = jobs.filter((job) => job.component === `${service}-migration`);
      const [job] = own;
      if (job === undefined || own.length !== 1) return [...found, violation(manifest, [], `${own.length} Jobs migrate its database`)];
      const running = mainContainer(job);
      if (running === undefined) return [...found, violation(job.manifest, job.path, 'has no container')];
      if (textAt(running.spec, 'image') !== textAt(container.spec, 'image')) found.push(violation(job.manifest, [...running.path, 'image'], 'is not the image of the service'));
      const last = listAt(running.spec, 'args').at(-1);
      if (last !== 'migrate' || !listAt(running.spec, 'args').includes('/app/main.mjs')) found.push(violation(job.manifest, [...running.path, 'args'], 'does not run main.mjs migrate'));
      const database = (spec: typeof container.spec): string => JSON.stringify(listAt(spec, 'env').find((entry) => textAt(entry, 'name') === 'DATABASE_URL') ?? {});
      if (database(running.spec) !== database(container.spec) || database(running.spec) === '{}') found.push(violation(job.manifest, [...running.path, 'env'], 'migrates another database than the service uses'));
      if (!['Never', 'OnFailure'].includes(textAt(job.pod, 'restartPolicy') ?? '')) found.push(violation(job.manifest, [...job.path, 'restartPolicy'], 'is neither Never nor OnFailure'));
      if ((numberAt(job.manifest, 'spec', 'backoffLimit') ?? 6) < 3) found.push(violation(job.manifest, ['spec', 'backoffLimit'], 'gives up before a first install has its database'));
      if (numberAt(job.manifest, 'spec', 'activeDeadlineSeconds') === undefined) found.push(violation(job.manifest, ['spec', 'activeDeadlineSeconds'], 'is missing: a lock that is never given keeps it for ever'));
      if (numberAt(job.manifest, 'spec', 'ttlSecondsAfterFinished') === undefined) found.push(violation(job.manifest, ['spec', 'ttlSecondsAfterFinished'], 'is missing: Jobs pile up'));
      if (at(job.manifest, 'metadata', 'annotations', 'helm.sh/hook') !== undefined) found.push(violation(job.manifest, ['metadata', 'annotations'], 'is a hook, which runs before Postgres is made or after the services wait for it'));
      if ((numberAt(job.manifest, 'spec', 'parallelism') ?? 1) !== 1 || (numberAt(job.manifest, 'spec', 'completions') ?? 1) !== 1) found.push(violation(job.manifest, ['spec', 'parallelism'], 'is not one'));
      return found;
    });
  },
};

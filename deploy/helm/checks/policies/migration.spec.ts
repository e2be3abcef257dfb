import { nameOf } from '../manifests';
import { ruleSuite, type EditableRelease } from '../rule-suite';
import { migration } from './migration.policy';

const job = (release: EditableRelease): string => {
  const found = release.manifests.find((manifest) => manifest['kind'] === 'Job' && nameOf(manifest).includes('gateway'));
  if (found === undefined) throw new Error('the gateway has no Job');
  return `Job/${nameOf(found)}`;
};
const first = ['spec', 'template', 'spec', 'containers', 0] as const;

ruleSuite(migration, [
  { what: 'a service that migrates itself', plant: (release) => release.set('ConfigMap/settlement-gateway', ['data', 'MIGRATIONS'], 'apply'), found: /MIGRATIONS is apply instead of wait/ },
  { what: 'no Job', plant: (release) => release.remove(job(release)), found: /Deployment\/settlement-gateway: 0 Jobs migrate/ },
  { what: 'a Job of another image', plant: (release) => release.set(job(release), [...first, 'image'], 'localhost/settlement-gateway:old'), found: /image: is not the image of the service/ },
  { what: 'a Job that serves', plant: (release) => release.set(job(release), [...first, 'args'], ['/app/main.mjs']), found: /does not run main\.mjs migrate/ },
  { what: 'a Job of another database', plant: (release) => release.set(job(release), [...first, 'env'], [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'settlement-relayer-database', key: 'url' } } }]), found: /migrates another database/ },
  { what: 'a Job that restarts for ever', plant: (release) => release.set(job(release), ['spec', 'activeDeadlineSeconds'], undefined), found: /activeDeadlineSeconds: is missing/ },
  { what: 'a Job that gives up', plant: (release) => release.set(job(release), ['spec', 'backoffLimit'], 0), found: /gives up before a first install/ },
  { what: 'Jobs that pile up', plant: (release) => release.set(job(release), ['spec', 'ttlSecondsAfterFinished'], undefined), found: /Jobs pile up/ },
  { what: 'a hook', plant: (release) => release.set(job(release), ['metadata', 'annotations', 'helm.sh/hook'], 'pre-install'), found: /is a hook/ },
  { what: 'two at once', plant: (release) => release.set(job(release), ['spec', 'parallelism'], 2), found: /parallelism: is not one/ },
]);

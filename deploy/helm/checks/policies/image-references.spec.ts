import { ruleSuite } from '../rule-suite';
import { imageReferences } from './image-references.policy';

const gateway = 'Deployment/settlement-gateway';
const image = ['spec', 'template', 'spec', 'containers', 0, 'image'] as const;

ruleSuite(imageReferences, [
  { what: 'latest', plant: (release) => release.set(gateway, image, 'localhost/settlement-gateway:latest'), found: /image: moves: latest/ },
  { what: 'no tag', plant: (release) => release.set(gateway, image, 'localhost/settlement-gateway'), found: /has neither tag nor digest/ },
  { what: 'no registry', plant: (release) => release.set(gateway, image, 'settlement-gateway:1'), found: /is no image reference with a registry/ },
  { what: 'a short digest', plant: (release) => release.set(gateway, image, 'localhost/settlement-gateway@sha256:abc'), found: /is no image reference/ },
  { what: 'an empty tag', plant: (release) => release.set(gateway, image, 'localhost/settlement-gateway:'), found: /is no image reference/ },
  { what: 'a pull at each start', plant: (release) => release.set(gateway, ['spec', 'template', 'spec', 'containers', 0, 'imagePullPolicy'], 'Always'), found: /asks a registry at each start/ },
  {
    what: 'a database image that moves',
    where: (release) => release.manifests.some(({ kind }) => kind === 'Cluster'),
    plant: (release) => release.set('Cluster', ['spec', 'imageName'], 'localhost/settlement-postgresql:latest'),
    found: /^Cluster\/.*imageName: moves/,
  },
]);

import { defineConfig } from 'vitest/config';

/** Wants the images that `npm run images` builds, and the processor for itself while they run. */
const onImages = 'libs/cluster/src/images/containers.int.spec.ts';

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{apps,libs,tools,deploy,infra}/**/*.spec.ts'],
          exclude: ['**/*.int.spec.ts', '**/node_modules/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'int',
          include: ['{apps,libs,tools,deploy,infra}/**/*.int.spec.ts'],
          exclude: [onImages, '**/node_modules/**'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          // Each file has its own servers, ports and folders. Most of their time they wait for leases, blocks and brokers: one at a
          // time leaves two cores more than half idle, and many at once would measure each other.
          maxWorkers: 2,
          pool: 'forks',
        },
      },
      { test: { name: 'containers', include: [onImages], testTimeout: 120_000, hookTimeout: 180_000, pool: 'forks' } },
    ],
  },
});

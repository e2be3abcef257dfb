import { defineConfig } from 'vitest/config';

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
          exclude: ['**/node_modules/**'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          // Each file has its own servers, ports and folders. Most of their time they wait for leases, blocks and brokers: one at a
          // time leaves two cores more than half idle, and many at once would measure each other.
          maxWorkers: 2,
          pool: 'forks',
        },
      },
    ],
  },
});

// Which part may know which. The folders say what a part is; these rules keep the folders honest.
// Each rule has a fixture in tools/lint/fixtures that must fail (tools/lint/lint.spec.ts).

/** Packages that talk to the world. Inside an app only adapters/ may import them; type-only imports are free. */
const vendors = '^(pg|kafkajs|ethers|secp256k1|@grpc/[^/]+|grpc-health-check|fastify|undici|standardwebhooks|swagger-ui-dist|@opentelemetry/(?!api)[^/]+|node_modules/(pg|kafkajs|ethers|secp256k1|@grpc|grpc-health-check|fastify|undici|standardwebhooks)/)';
const root = '(?:^|tools/lint/fixtures/[^/]+/)';

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'A cycle means that two files are one thing, or that a third is missing between them.',
      severity: 'error',
      from: {},
      to: { circular: true, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'kernel-imports-nothing',
      comment: 'Money, ids and deciders must run anywhere, in a simulation and in a proof.',
      severity: 'error',
      from: { path: `${root}libs/kernel/src/`, pathNot: '\\.spec\\.ts$' },
      to: { pathNot: `${root}libs/kernel/src/` },
    },
    {
      name: 'apps-never-import-apps',
      comment: 'Services meet only in proto/.',
      severity: 'error',
      from: { path: `${root}apps/([^/]+)/` },
      to: { path: `${root}apps/([^/]+)/`, pathNot: `${root}apps/$1/` },
    },
    {
      name: 'libs-never-import-apps',
      comment: 'Direction: kernel, then infrastructure libraries, then apps.',
      severity: 'error',
      from: { path: `${root}libs/` },
      to: { path: `${root}apps/` },
    },
    {
      name: 'vendors-only-in-adapters',
      comment: 'What a vendor changes must be changed in one place. Ports name what the service needs; adapters/ fills them.',
      severity: 'error',
      from: { path: `${root}apps/[^/]+/src/`, pathNot: ['/src/adapters/', '\\.spec\\.ts$', '\\.contract\\.ts$', '/test/', `${root}apps/sandbox/`] },
      to: { path: vendors, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'product-never-imports-test-code',
      comment: 'A stand-in must not reach production by an import.',
      severity: 'error',
      from: { path: `${root}(apps|libs)/[^/]+/src/`, pathNot: ['\\.spec\\.ts$', '\\.contract\\.ts$', `${root}libs/(testing|local-stack|cluster)/`, `${root}apps/sandbox/`, '/cli/'] },
      to: { path: `${root}libs/(testing|local-stack|cluster)/` },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(proto/gen|generated)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'default'], extensions: ['.ts', '.mjs', '.js', '.json'] },
    combinedDependencies: true,
  },
};

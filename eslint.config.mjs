// Taste is kept by reading; what stands here is what a machine can prove.
import tseslint from 'typescript-eslint';

const purity = 'Deciders, policies and processes are pure: time, ids and looked-up facts arrive as data.';

export default tseslint.config(
  { ignores: ['**/node_modules/**', 'proto/gen/**', '**/generated/**', '**/dist/**', 'tools/lint/fixtures/**', 'libs/contracts/{out,cache}/**'] },
  {
    files: ['{apps,libs,tools,deploy,infra}/**/*.ts', '*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/ban-ts-comment': 'error',
      'no-empty': ['error', { allowEmptyCatch: false }],
      'no-restricted-syntax': [
        'error',
        { selector: "CallExpression[callee.property.name='catch'] > ArrowFunctionExpression[body.type='Identifier'][body.name='undefined']", message: 'A swallowed failure: say what it means, or let it go on.' },
        { selector: "CallExpression[callee.property.name='catch'] > ArrowFunctionExpression[body.type='BlockStatement'][body.body.length=0]", message: 'A swallowed failure: say what it means, or let it go on.' },
      ],
      eqeqeq: 'error',
    },
  },
  {
    files: ['**/apps/**/src/**/*.ts', '**/libs/**/src/**/*.ts'],
    ignores: ['**/*.spec.ts', '**/*.contract.ts', '**/config.ts', 'libs/config/**', 'libs/service/**', 'libs/local-stack/**', 'libs/cluster/**', 'libs/testing/**', 'apps/sandbox/**', '**/cli/**', '**/compile.ts', '**/forge-test.ts'],
    rules: {
      'no-restricted-properties': ['error', { object: 'process', property: 'env', message: 'Configuration is parsed once, in config.ts.' }],
    },
  },
  {
    files: ['**/*.decider.ts', '**/*.policy.ts', '**/*.process.ts'],
    rules: {
      'no-restricted-globals': ['error', ...['Date', 'performance', 'process', 'fetch', 'crypto', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'console', 'globalThis', 'Number', 'parseInt', 'parseFloat', 'Promise'].map((name) => ({ name, message: purity }))],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: purity }],
      'no-restricted-imports': ['error', { patterns: [{ regex: '^(node:|pg$|kafkajs$|ethers$|@grpc/|@nestjs/|prom-client$|@opentelemetry/|@settlement/(service|observability|rpc|local-stack|testing)/)', message: purity, allowTypeImports: true }] }],
      'no-restricted-syntax': [
        'error',
        { selector: ':function[async=true]', message: purity },
        { selector: 'AwaitExpression', message: purity },
        { selector: 'ForOfStatement[await=true]', message: purity },
        { selector: 'ImportExpression', message: purity },
      ],
    },
  },
);

import { lintChecks, printCheck } from './lint';

const checks = lintChecks();
checks.forEach(printCheck);
process.exit(checks.every((check) => check.ok) ? 0 : 1);

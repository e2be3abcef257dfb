import { parseGatewayConfig } from '../../../../apps/gateway/src/config';
import { parseRelayerConfig } from '../../../../apps/relayer/src/config';
import { parsePaymasterConfig } from '../../../../apps/paymaster/src/config';
import { parseConfig as parseBatchSettlementConfig } from '../../../../apps/batch-settlement/src/config';
import { parseScreeningConfig } from '../../../../apps/compliance-screening/src/config';
import { parseEnvironment, type Environment } from '@settlement/config/environment';
import { migrationSchema } from '@settlement/config/service-config';
import { violation, type JsonObject, type Policy, type Release, type Step, type Violation } from '../manifests';
import { environmentOf } from '../environment';
import { containers, isService, workloads, type ServiceName } from '../pods';
import { DATABASE_PASSWORD, SECRET_VARIABLES } from '../samples';

const PARSERS: Readonly<Record<ServiceName, (environment: Environment) => unknown>> = {
  gateway: parseGatewayConfig,
  relayer: parseRelayerConfig,
  paymaster: parsePaymasterConfig,
  'batch-settlement': parseBatchSettlementConfig,
  'compliance-screening': parseScreeningConfig,
};
/** `main.mjs migrate` of every service. */
const parseMigrationConfig = (environment: Environment): unknown => parseEnvironment(migrationSchema, environment);
/** Read by Node itself, not by a config.ts. */
const OF_THE_RUNTIME = new Set(['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'TZ']);
/** The chart names every pod; a service that needs no name does not ask for it. */
const FOR_EVERY_POD = new Set(['INSTANCE_ID']);

/** What a store or an operator puts into the Secrets that the release does not hold itself. */
function samples(secret: string): Readonly<Record<string, string>> {
  const service = /^settlement-(.+?)(-database)?$/.exec(secret)?.[1];
  if (service === undefined || !isService(service)) return {};
  const database = service.replaceAll('-', '_');
  if (secret.endsWith('-database')) return { url: `postgres://${database}:${encodeURIComponent(DATABASE_PASSWORD)}@settlement-postgres-rw:5432/${database}?sslmode=verify-full&sslrootcert=/etc/settlement/database/ca.crt`, username: database, password: DATABASE_PASSWORD };
  return SECRET_VARIABLES[service];
}

/**
 * The service's own parser on the very environment that its container would get: a variable that is missing, malformed or
 * misspelt fails here and not in a pod that restarts. Which names a service knows is what its parser asks for.
 */
export const environmentVariables: Policy = {
  rule: 'the environment of every pod is one that its service’s own configuration accepts, and holds nothing that it does not know',
  check: (release) =>
    workloads(release).flatMap((workload) => {
      const service = workload.component?.replace(/-migration$/, '');
      if (!isService(service) || workload.kind === 'Pod') return [];
      return containers(workload).flatMap(({ spec, path }) => judge(workload.manifest, path, spec, workload.kind === 'Job' ? [`${service} migrate`, parseMigrationConfig] : [service, PARSERS[service]], release));
    }),
};

function judge(manifest: JsonObject, path: readonly Step[], spec: JsonObject, [program, parse]: readonly [string, (environment: Environment) => unknown], release: Release): Violation[] {
  const variables = environmentOf(release, spec, samples);
  const asked = new Set<string>();
  const recording = new Proxy<Record<string, string>>({ ...variables }, {
    get(target, name) {
      if (typeof name === 'string') asked.add(name);
      return typeof name === 'string' ? target[name] : undefined;
    },
  });
  const found: Violation[] = [];
  try {
    parse(recording);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    found.push(violation(manifest, path, `is refused by the configuration of ${program}: ${error.message}`));
  }
  for (const name of Object.keys(variables)) {
    if (!asked.has(name) && !OF_THE_RUNTIME.has(name) && !FOR_EVERY_POD.has(name)) found.push(violation(manifest, path, `sets ${name}, which ${program} does not know`));
  }
  return found;
}

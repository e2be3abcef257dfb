import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import type { Registry } from 'prom-client';
import { HEALTH, LOGGER, METRICS } from './tokens';

/** What exists before Nest does. */
export interface ServiceShell {
  readonly name: string;
  readonly logger: Logger;
  readonly health: HealthRegistry;
  readonly metrics: Registry;
  /** For every gRPC server and client of the process; undefined is plain text. */
  readonly certificates?: CertificateSource | undefined;
}

/** Global module members for the shell's own parts. */
export function shellProviders(shell: ServiceShell) {
  return [
    { provide: LOGGER, useValue: shell.logger },
    { provide: HEALTH, useValue: shell.health },
    { provide: METRICS, useValue: shell.metrics },
  ];
}

import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import type { HttpCallers } from '@settlement/rpc/http-callers';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import type { Registry } from 'prom-client';
import { CALLERS, HEALTH, LOGGER, METRICS } from './tokens';

/** What exists before Nest does. */
export interface ServiceShell {
  readonly name: string;
  readonly logger: Logger;
  readonly health: HealthRegistry;
  readonly metrics: Registry;
  /** Of every HTTP server of the process but that for health and metrics: seen off before anything is closed. */
  readonly callers: HttpCallers;
  /** For every gRPC server and client of the process; undefined is plain text. */
  readonly certificates?: CertificateSource | undefined;
}

/** Global module members for the shell's own parts. */
export function shellProviders(shell: ServiceShell) {
  return [
    { provide: LOGGER, useValue: shell.logger },
    { provide: HEALTH, useValue: shell.health },
    { provide: METRICS, useValue: shell.metrics },
    { provide: CALLERS, useValue: shell.callers },
  ];
}

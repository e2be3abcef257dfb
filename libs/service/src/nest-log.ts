import type { LoggerService } from '@nestjs/common';
import type { Logger } from '@settlement/observability/logger';

/** Nest's own words, in the service's log. */
export class NestLog implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown): void {
    this.logger.debug({ from: 'nest' }, String(message));
  }

  warn(message: unknown): void {
    this.logger.warn({ from: 'nest' }, String(message));
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.logger.error({ from: 'nest', detail: rest.map(String) }, String(message));
  }
}

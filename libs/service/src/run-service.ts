import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { DynamicModule, INestApplicationContext, Type } from '@nestjs/common';
import { InvalidInput } from '@settlement/kernel/errors';
import type { Environment } from '@settlement/config/environment';
import type { ServiceConfig } from '@settlement/config/service-config';
import { HealthRegistry } from '@settlement/observability/health';
import { createLogger, type Logger } from '@settlement/observability/logger';
import { startOpsServer } from '@settlement/observability/ops-server';
import { startTracing } from '@settlement/observability/tracing';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { NestLog } from './nest-log';
import { HEALTH, LOGGER, METRICS } from './tokens';

/** Exit codes of sysexits.h, so that a supervisor can tell a bad configuration (do not restart) from a crash. */
const EXIT_CONFIG = 78;
const EXIT_SOFTWARE = 70;

export interface ServiceDefinition<Config extends ServiceConfig> {
  /** As in topics, metrics and logs, such as `batch-settlement`. */
  readonly name: string;
  /** Throws `InvalidInput` with every problem at once. */
  readonly parseConfig: (environment: Environment) => Config;
  readonly module: (config: Config, shell: ServiceShell) => Type | DynamicModule;
  /** Creates the application; by default a context without HTTP. The gateway makes a Fastify application here. */
  readonly createApp?: (module: Type | DynamicModule, config: Config, shell: ServiceShell) => Promise<INestApplicationContext>;
  /** After `init`, such as listening on HTTP. */
  readonly started?: (app: INestApplicationContext, config: Config, shell: ServiceShell) => Promise<void>;
}

/** What exists before Nest does. */
export interface ServiceShell {
  readonly name: string;
  readonly logger: Logger;
  readonly health: HealthRegistry;
  readonly metrics: Registry;
}

/** Global module members for the shell's own parts. */
export function shellProviders(shell: ServiceShell) {
  return [
    { provide: LOGGER, useValue: shell.logger },
    { provide: HEALTH, useValue: shell.health },
    { provide: METRICS, useValue: shell.metrics },
  ];
}

/**
 * Runs one service until it is told to stop. Start: configuration, tracing, health server (live at once, ready when the
 * parts are), Nest. Stop on SIGTERM or SIGINT: not ready, consumers and gRPC drained, pools closed, exit 0; a second signal,
 * or a drain longer than `SHUTDOWN_TIMEOUT_MS`, exits at once with 1. What is cut off then is redelivered: no state is lost.
 */
export async function runService<Config extends ServiceConfig>(definition: ServiceDefinition<Config>): Promise<void> {
  let config: Config;
  try {
    config = definition.parseConfig(process.env);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    process.stderr.write(`${definition.name} cannot start: its configuration is wrong\n`);
    for (const issue of error.issues) process.stderr.write(`  ${issue.path}: ${issue.message}\n`);
    process.exitCode = EXIT_CONFIG;
    return;
  }

  const logger = createLogger({ service: definition.name, region: config.REGION, epoch: config.EPOCH, level: config.LOG_LEVEL });
  const tracing = startTracing({ service: definition.name, region: config.REGION, traceFile: config.TRACE_FILE, otlpEndpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT });
  const metrics = new Registry();
  metrics.setDefaultLabels({ service: definition.name, region: config.REGION });
  collectDefaultMetrics({ register: metrics });
  const health = new HealthRegistry();
  const shell: ServiceShell = { name: definition.name, logger, health, metrics };

  let started = false;
  health.register('start', () => Promise.resolve(started ? { ok: true } : { ok: false, why: 'still starting' }));

  // A failure that nobody caught leaves state unknown: say so and stop. Recovery is what a restart is for.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal({ err: error }, `${event}: stopping`);
      process.exit(EXIT_SOFTWARE);
    });
  }

  let app: INestApplicationContext | undefined;
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) {
      logger.warn({ signal }, 'second signal: leaving without drain');
      process.exit(1);
    }
    stopping = true;
    logger.info({ signal }, 'stopping: draining');
    health.drain();
    const limit = setTimeout(() => {
      logger.error({ shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS }, 'drain took too long: leaving');
      process.exit(1);
    }, config.SHUTDOWN_TIMEOUT_MS);
    limit.unref();
    (async () => {
      await app?.close();
      await tracing.shutdown();
      await ops.stop();
      logger.info('stopped');
      process.exit(0);
    })().catch((error: unknown) => {
      logger.error({ err: error }, 'stop failed');
      process.exit(1);
    });
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));

  const ops = await startOpsServer({ host: config.OPS_HOST, port: config.OPS_PORT, health, metrics });
  try {
    const module = definition.module(config, shell);
    app =
      definition.createApp === undefined
        ? await NestFactory.createApplicationContext(module, { logger: new NestLog(logger), abortOnError: false })
        : await definition.createApp(module, config, shell);
    await app.init();
    await definition.started?.(app, config, shell);
    started = true;
    logger.info({ opsPort: ops.port }, 'started');
  } catch (error) {
    logger.fatal({ err: error }, 'start failed');
    process.exit(EXIT_SOFTWARE);
  }
}

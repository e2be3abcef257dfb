import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { DynamicModule, INestApplicationContext, Type } from '@nestjs/common';
import { InvalidInput } from '@settlement/kernel/errors';
import type { Environment } from '@settlement/config/environment';
import type { ServiceConfig } from '@settlement/config/service-config';
import { refuseOpenPlaintext } from '@settlement/config/tls-config';
import { systemClock } from '@settlement/config/system-ports';
import { HealthRegistry } from '@settlement/observability/health';
import { createLogger } from '@settlement/observability/logger';
import { startOpsServer } from '@settlement/observability/ops-server';
import { startTracing } from '@settlement/observability/tracing';
import { HttpCallers } from '@settlement/rpc/http-callers';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { EXIT } from './exit-codes';
import { migrateCommand } from './migrate-command';
import { NestLog } from './nest-log';
import { ownCertificates } from './own-certificates';
import type { SchemaPart } from './schema';
import type { ServiceShell } from './service-shell';
import { untilSchema } from './until-schema';

/** An answer about a dependency serves all probes of this long: however many ask, each is asked at most twice a second. */
const HEALTH_CACHE_MS = 500;

export interface ServiceDefinition<Config extends ServiceConfig> {
  /** As in topics, metrics and logs, such as `batch-settlement`. */
  readonly name: string;
  /** Throws `InvalidInput` with every problem at once. */
  readonly parseConfig: (environment: Environment) => Config;
  /** The service's own tables, beside those of the event store and the feed. */
  readonly schema: readonly SchemaPart[];
  readonly module: (config: Config, shell: ServiceShell) => Type | DynamicModule;
  /** Creates the application; by default a context without HTTP. The gateway makes a Fastify application here. */
  readonly createApp?: (module: Type | DynamicModule, config: Config, shell: ServiceShell) => Promise<INestApplicationContext>;
  /** After `init`, such as listening on HTTP. */
  readonly started?: (app: INestApplicationContext, config: Config, shell: ServiceShell) => Promise<void>;
}

/**
 * Runs one service until it is told to stop, or with the argument `migrate` only brings its tables up to date. Start:
 * configuration, tracing, health server (live at once, ready when the parts are), the tables (for as long as the database is away
 * this waits and says so), Nest. Stop on SIGTERM or SIGINT: not ready, `SHUTDOWN_DELAY_MS` for the balancers to notice, callers
 * of HTTP seen off, consumers and servers drained, pools closed, exit 0; a second signal, or a drain longer than `SHUTDOWN_TIMEOUT_MS`, exits at once with 1.
 * What is cut off then is redelivered: no state is lost.
 */
export async function runService<Config extends ServiceConfig>(definition: ServiceDefinition<Config>): Promise<void> {
  const [command] = process.argv.slice(2);
  if (command === 'migrate') {
    process.exitCode = await migrateCommand({
      name: definition.name,
      schema: definition.schema,
      environment: process.env,
      clock: systemClock,
      say: (line) => process.stdout.write(`${line}\n`),
    });
    return;
  }
  if (command !== undefined) {
    process.stderr.write(`${definition.name}: unknown command ${command} (expected none, or migrate)\n`);
    process.exitCode = EXIT.config;
    return;
  }

  let config: Config;
  try {
    config = definition.parseConfig(process.env);
    refuseOpenPlaintext(config);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    process.stderr.write(`${definition.name} cannot start: its configuration is wrong\n`);
    for (const issue of error.issues) process.stderr.write(`  ${issue.path}: ${issue.message}\n`);
    process.exitCode = EXIT.config;
    return;
  }

  const logger = createLogger({ service: definition.name, region: config.REGION, epoch: config.EPOCH, level: config.LOG_LEVEL });
  const tracing = startTracing({ service: definition.name, region: config.REGION, traceFile: config.TRACE_FILE, otlpEndpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT });
  const metrics = new Registry();
  metrics.setDefaultLabels({ service: definition.name, region: config.REGION });
  collectDefaultMetrics({ register: metrics });
  const health = new HealthRegistry({ cacheMs: HEALTH_CACHE_MS });
  let certificates: CertificateSource | undefined;
  try {
    certificates = ownCertificates(config, definition.name, logger, metrics);
  } catch (error) {
    logger.fatal({ err: error }, 'the certificate files are not usable');
    process.exit(EXIT.config);
  }
  const callers = new HttpCallers({ draining: () => health.isDraining, lingerMs: config.SHUTDOWN_LINGER_MS, clock: systemClock });
  const shell: ServiceShell = { name: definition.name, logger, health, metrics, callers, certificates };

  health.register('start', () => {
    const start = health.startState;
    return Promise.resolve(start.state === 'started' ? { ok: true } : { ok: false, why: start.state === 'waiting' ? start.why : 'still starting' });
  });

  // A failure that nobody caught leaves state unknown: say so and stop. Recovery is what a restart is for.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal({ err: error }, `${event}: stopping`);
      process.exit(EXIT.software);
    });
  }

  let app: INestApplicationContext | undefined;
  let stopping = false;
  const stopped = new AbortController();
  const stop = (signal: string): void => {
    if (stopping) {
      logger.warn({ signal }, 'second signal: leaving without drain');
      process.exit(EXIT.cutOff);
    }
    stopping = true;
    stopped.abort();
    logger.info({ signal }, 'stopping: draining');
    health.drain();
    const limit = setTimeout(() => {
      logger.error({ shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS }, 'drain took too long: leaving');
      process.exit(EXIT.cutOff);
    }, config.SHUTDOWN_DELAY_MS + config.SHUTDOWN_LINGER_MS + config.SHUTDOWN_TIMEOUT_MS);
    limit.unref();
    (async () => {
      // Balancers still send what came before they noticed; it is served as ever.
      if (app !== undefined) {
        await systemClock.sleep(config.SHUTDOWN_DELAY_MS);
        await shell.callers.left();
      }
      await app?.close();
      await tracing.shutdown();
      await ops.stop();
      logger.info('stopped');
      process.exit(0);
    })().catch((error: unknown) => {
      logger.error({ err: error }, 'stop failed');
      process.exit(EXIT.cutOff);
    });
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));

  const ops = await startOpsServer({ host: config.OPS_HOST, port: config.OPS_PORT, health, metrics });
  try {
    if (!(await untilSchema({ config, shell, own: definition.schema, clock: systemClock, signal: stopped.signal }))) return;
    const module = definition.module(config, shell);
    app =
      definition.createApp === undefined
        ? await NestFactory.createApplicationContext(module, { logger: new NestLog(logger), abortOnError: false })
        : await definition.createApp(module, config, shell);
    await app.init();
    await definition.started?.(app, config, shell);
    health.started();
    logger.info({ opsPort: ops.port }, 'started');
  } catch (error) {
    logger.fatal({ err: error }, 'start failed');
    process.exit(EXIT.software);
  }
}

import { z } from 'zod';
import { jsonVariable, portVariable, positiveInteger, requiredWhen } from './environment';
import { plaintextVariable, tlsVariables } from './tls-config';

const partitionShard = z.strictObject({
  /** Which partitions this database holds. */
  partitions: z.array(z.number().int().min(0)).min(1),
  url: z.string().min(1),
});

/** What every service is configured with. Spread into the service's own schema: `z.object({ ...serviceVariables, … })`. */
export const serviceVariables = {
  REGION: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/).default('local'),
  EPOCH: z.coerce.bigint('expected a whole number').min(1n).default(1n),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  OPS_HOST: z.string().default('127.0.0.1'),
  /** Health and metrics; 0 takes a free port. */
  OPS_PORT: portVariable.default(0),
  GRPC_HOST: z.string().default('127.0.0.1'),
  GRPC_PORT: portVariable.default(0),
  /** About how long a client keeps a connection before it is asked, gently, to make a new one: so it finds pods that came later, and is authenticated again. */
  GRPC_CONNECTION_AGE_MS: positiveInteger.default(60_000),
  ...tlsVariables,
  ALLOW_PLAINTEXT: plaintextVariable,
  /** The service's own database: event store, watermarks and read models. */
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//, 'expected postgres://…'),
  DATABASE_POOL_MAX: positiveInteger.default(12),
  /** `apply` brings the tables up to date at start; `wait` leaves that to `main.mjs migrate` and is not ready until it has run. */
  MIGRATIONS: z.enum(['apply', 'wait']).default('apply'),
  /** How many partitions the log has; fixed once the database has been migrated. */
  PARTITIONS: positiveInteger.max(1_024).default(4),
  /** JSON, when the partitions are spread over several databases; `DATABASE_URL` then holds watermarks and read models. */
  PARTITION_MAP: jsonVariable(z.array(partitionShard).min(1)).optional(),
  FEED: z.enum(['postgres', 'kafka']).default('postgres'),
  KAFKA_BROKERS: z.string().transform((text) => text.split(',').map((broker) => broker.trim())).optional().register(requiredWhen, { FEED: 'kafka' }),
  /** Of topics that this service creates: 1 on a single broker, 3 in a cluster. */
  KAFKA_REPLICATION_FACTOR: positiveInteger.max(15).default(1),
  /** Of topics that this service creates; absent, one less than their replicas (2 of 3), so that one broker may be away. */
  KAFKA_MIN_INSYNC_REPLICAS: positiveInteger.max(15).optional(),
  /** PEM files: the brokers' authority, and this client's certificate with its key where the brokers ask for one. */
  KAFKA_TLS_CA_FILE: z.string().optional(),
  KAFKA_TLS_CERT_FILE: z.string().optional(),
  KAFKA_TLS_KEY_FILE: z.string().optional(),
  /** JSON object: the read-only database of each service whose facts are read (Postgres feed). */
  FEED_DATABASES: jsonVariable(z.record(z.string(), z.string())).optional(),
  /** Spans as JSON lines into this file; without it and without an OTLP endpoint spans are not exported. */
  TRACE_FILE: z.string().optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
  /** How long a stop may take before connections are cut. */
  SHUTDOWN_TIMEOUT_MS: positiveInteger.default(10_000),
  /** Kept serving after SIGTERM, already not ready, until every balancer has noticed. 0 where a preStop hook waits instead. */
  SHUTDOWN_DELAY_MS: z.coerce.number('expected milliseconds').int().min(0).max(120_000).default(0),
  /** Connections that HTTP callers keep alive are left open for so long after that. Answers allow 5 s of disuse: with more than those no request meets a closed one. */
  SHUTDOWN_LINGER_MS: z.coerce.number('expected milliseconds').int().min(0).max(120_000).default(2_000),
} as const;

export const serviceSchema = z.object(serviceVariables);
export type ServiceConfig = z.output<typeof serviceSchema>;

/** What `main.mjs migrate` needs: the database alone, so that the job is given none of the service's other secrets. */
export const migrationVariables = {
  REGION: serviceVariables.REGION,
  EPOCH: serviceVariables.EPOCH,
  DATABASE_URL: serviceVariables.DATABASE_URL,
  PARTITIONS: serviceVariables.PARTITIONS,
  PARTITION_MAP: serviceVariables.PARTITION_MAP,
  /** How long to wait for a database that does not answer yet. */
  MIGRATE_TIMEOUT_MS: positiveInteger.default(300_000),
} as const;

export const migrationSchema = z.object(migrationVariables);
export type MigrationConfig = z.output<typeof migrationSchema>;

import { plainConnectionConfig, POOL_IDLE_MS } from '@settlement/event-store/connection';
import { LostServerWatch } from '@settlement/event-store/lost-server';
import type { PartitionOwners } from '@settlement/event-store/ownership';
import { postgresOwners } from '@settlement/event-store/postgres-owners';
import { LogStanding } from '@settlement/event-store/standing';
import { readFileSync } from 'node:fs';
import type { KafkaTls } from '@settlement/feed/kafka-client';
import { storedProgress } from '@settlement/feed/relay-progress';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { migrateFeed } from '@settlement/feed/migrate-feed';
import { kafkaFeed } from '@settlement/feed/kafka-feed';
import { startKafkaRelay, type RunningRelay } from '@settlement/feed/kafka-relay';
import type { EventFeed } from '@settlement/feed/port';
import { postgresFeed } from '@settlement/feed/postgres-feed';
import type { ServiceConfig } from '@settlement/config/service-config';
import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import { InvalidInput } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import pg from 'pg';
import type { ServiceShell } from './service-shell';

const SHARED_LOOK_MS = 250;

export interface Infrastructure {
  readonly store: PostgresEventStore;
  readonly database: pg.Pool;
  readonly feed: EventFeed;
  readonly owners: PartitionOwners;
  close(): Promise<void>;
}

/**
 * Opens the service's log, its database and the feed of the other services' facts, migrating its own tables first.
 * Registers the database, the epoch and commits that hang as readiness checks.
 */
export async function openInfrastructure(config: ServiceConfig, shell: ServiceShell): Promise<Infrastructure> {
  const store = await openEventStore({
    source: shell.name,
    partitionMap: config.PARTITION_MAP ?? singleDatabase(config.DATABASE_URL, config.PARTITIONS),
    region: config.REGION,
    epoch: config.EPOCH,
    clock: systemClock,
    migrate: config.MIGRATIONS === 'apply',
  });
  if (config.MIGRATIONS === 'apply') await migrateFeed(config.DATABASE_URL);
  const own = plainConnectionConfig(config.DATABASE_URL, `settlement-${shell.name}`);
  const database = new pg.Pool({ ...own, max: config.DATABASE_POOL_MAX, idleTimeoutMillis: POOL_IDLE_MS });
  const lostServers = new LostServerWatch(own, systemClock);
  lostServers.watchPool(database);
  // An idle connection that dies is replaced; the query that needed it reports its own error.
  database.on('error', (error) => shell.logger.warn({ err: error }, 'idle database connection lost'));
  const standing = new LogStanding([config.DATABASE_URL, ...(config.PARTITION_MAP ?? []).map(({ url }) => url)], shell.name, config.EPOCH);
  registerStanding(shell, standing, store, systemClock);
  const owners = postgresOwners({ url: config.DATABASE_URL, source: shell.name, clock: systemClock, log: shell.logger });
  const feed = openFeed(config, shell);
  const relay = startRelay(config, shell, store, owners);
  return {
    store,
    database,
    feed,
    owners,
    async close() {
      await relay?.stop();
      await feed.close();
      await owners.close();
      await store.close();
      await standing.close();
      await database.end();
      lostServers.close();
    },
  };
}

/**
 * What a service must have to take work: a database that it can write, and the epoch. Brokers are not among it: what is accepted
 * is accepted by the database alone, and Kafka gets it from there when it is back, so an outage of Kafka must not refuse payments.
 */
function registerStanding(shell: ServiceShell, standing: LogStanding, store: PostgresEventStore, clock: Clock): void {
  let look: { readonly atMs: number; readonly found: ReturnType<LogStanding['look']> } | undefined;
  // Both checks come with one probe and share one look.
  const looked = (): ReturnType<LogStanding['look']> => {
    const nowMs = clock.monotonicMs();
    if (look === undefined || nowMs - look.atMs > SHARED_LOOK_MS) look = { atMs: nowMs, found: standing.look() };
    return look.found;
  };
  shell.health.register('database', async () => (await looked()).database);
  shell.health.register('epoch', async () => (await looked()).epoch);
  shell.health.register('commits', () => {
    const hanging = store.hangingCommits();
    return Promise.resolve(hanging === 0 ? { ok: true } : { ok: false, why: `${hanging} commits hang: the synchronous standby does not confirm them` });
  });
}

function brokersOf(config: ServiceConfig): readonly string[] {
  if (config.KAFKA_BROKERS === undefined) throw new InvalidInput([{ path: 'KAFKA_BROKERS', message: 'is missing (expected host:port,… with FEED=kafka)' }]);
  return config.KAFKA_BROKERS;
}

/** Read once, at start: a client certificate for Kafka that is renewed takes a restart, which the chart's checksum makes. */
function kafkaTlsOf(config: ServiceConfig): { readonly tls?: KafkaTls } {
  const { KAFKA_TLS_CA_FILE: ca, KAFKA_TLS_CERT_FILE: cert, KAFKA_TLS_KEY_FILE: key } = config;
  if (ca === undefined && cert === undefined && key === undefined) return {};
  if ((cert === undefined) !== (key === undefined)) {
    throw new InvalidInput([{ path: cert === undefined ? 'KAFKA_TLS_CERT_FILE' : 'KAFKA_TLS_KEY_FILE', message: 'is missing (certificate and key are given together)' }]);
  }
  const pem = (file: string): string => readFileSync(file, 'utf8');
  return { tls: { ...(ca !== undefined && { ca: pem(ca) }), ...(cert !== undefined && { cert: pem(cert) }), ...(key !== undefined && { key: pem(key) }) } };
}

function openFeed(config: ServiceConfig, shell: ServiceShell): EventFeed {
  const common = { clock: systemClock, randomness: systemRandomness, logger: shell.logger };
  switch (config.FEED) {
    case 'postgres':
      return postgresFeed({ ...common, databases: config.FEED_DATABASES ?? {} });
    case 'kafka':
      return kafkaFeed({ ...common, ...kafkaTlsOf(config), brokers: brokersOf(config), service: shell.name });
  }
}

/** With Kafka each service publishes its own log. A relay that lags holds nobody up here: the log is what is acknowledged. */
function startRelay(config: ServiceConfig, shell: ServiceShell, store: PostgresEventStore, owners: PartitionOwners): RunningRelay | undefined {
  if (config.FEED !== 'kafka') return undefined;
  return startKafkaRelay({
    store,
    brokers: brokersOf(config),
    owners,
    progress: storedProgress(store),
    replicationFactor: config.KAFKA_REPLICATION_FACTOR,
    ...(config.KAFKA_MIN_INSYNC_REPLICAS !== undefined && { minInsyncReplicas: config.KAFKA_MIN_INSYNC_REPLICAS }),
    ...kafkaTlsOf(config),
    clock: systemClock,
    randomness: systemRandomness,
    logger: shell.logger,
    metrics: shell.metrics,
  });
}

import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import type { RecordedEvent } from '@settlement/event-store/event';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { HealthRegistry } from '@settlement/observability/health';
import { createLogger } from '@settlement/observability/logger';
import { Registry } from 'prom-client';
import pg from 'pg';
import { prometheusMetrics } from '../src/adapters/prometheus-metrics';
import { parseRelayerConfig } from '../src/config';
import { Relayer } from '../src/relayer';
import { relayerCodec } from '../src/relayer.codec';
import type { RelayerEvent } from '../src/relayer.events';

export interface RunningRelayer {
  readonly relayer: Relayer;
  readonly store: PostgresEventStore;
  readonly health: HealthRegistry;
  readonly registry: Registry;
  /** Harmless when called again. */
  stop(): Promise<void>;
}

/** The relayer on its real adapters, without transports and without a process of its own. */
export async function startRelayer(environment: Record<string, string>): Promise<RunningRelayer> {
  const config = parseRelayerConfig(environment);
  const store = await openEventStore({ source: 'relayer', partitionMap: singleDatabase(config.DATABASE_URL, config.PARTITIONS), region: config.REGION, epoch: config.EPOCH, clock: systemClock });
  const database = new pg.Pool({ connectionString: config.DATABASE_URL, max: 6 });
  const logger = createLogger({ service: 'relayer', region: config.REGION, epoch: config.EPOCH, level: config.LOG_LEVEL });
  const health = new HealthRegistry();
  const registry = new Registry();
  const relayer = new Relayer({ config, store, database, clock: systemClock, randomness: systemRandomness, logger, health, metrics: prometheusMetrics(registry) });
  await relayer.start();
  let stopped = false;
  return {
    relayer,
    store,
    health,
    registry,
    async stop() {
      if (stopped) return;
      stopped = true;
      await relayer.stop();
      await store.close();
      await database.end();
    },
  };
}

/** Everything on record, partition by partition. */
export async function readAll(databaseUrl: string): Promise<readonly { readonly recorded: RecordedEvent; readonly event: RelayerEvent }[]> {
  const store = await openEventStore({ source: 'relayer', partitionMap: singleDatabase(databaseUrl, 4), region: 'local', epoch: 1n, clock: systemClock });
  try {
    const all: RecordedEvent[] = [];
    for (let partition = 0; partition < 4; partition += 1) {
      for (let after = 0n; ; ) {
        const page = await store.readPartition(partition, after, 1_000);
        all.push(...page);
        if (page.length < 1_000) break;
        after = page[page.length - 1]?.position ?? after;
      }
    }
    return all.map((recorded) => ({ recorded, event: relayerCodec.decode(recorded) }));
  } finally {
    await store.close();
  }
}

/** `seen` is asked for what stands in the way once time is up. */
export async function until(what: string, holds: () => Promise<boolean>, timeoutMs = 30_000, seen?: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}${seen === undefined ? '' : `: ${JSON.stringify(await seen())}`}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

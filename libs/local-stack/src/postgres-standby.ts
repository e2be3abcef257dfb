import { setTimeout as sleep } from 'node:timers/promises';
import { OperationalError } from '@settlement/kernel/errors';
import pg from 'pg';
import type { LocalPostgres } from './local-postgres';
import { startPostgres } from './postgres';

export interface ReplicatedPostgres {
  readonly primary: LocalPostgres;
  readonly standby: LocalPostgres;
  /** From now on a COMMIT on the primary waits until the standby has it on disk. */
  requireStandby(): Promise<void>;
  /** Backends of the primary whose COMMIT waits for the standby. */
  waitingCommits(): Promise<readonly number[]>;
  stop(): Promise<void>;
}

const STANDBY = 'standby_b';
const STREAMING_TIMEOUT_MS = 20_000;

/** A primary and a streaming standby made from a copy of it, without pg_basebackup, which npm's binaries lack. */
export async function startReplicatedPostgres(options: { readonly databases: readonly string[] }): Promise<ReplicatedPostgres> {
  const primary = await startPostgres({ ...options, asProcess: true });
  try {
    // Only a cluster at rest can be copied file by file. The standby starts first and finds its primary a moment later.
    await primary.shutDown();
    const standby = await startPostgres({ databases: [], copyOf: primary, standbyOf: { port: primary.port, name: STANDBY } });
    await primary.start();
    const ask = async <Row extends Record<string, unknown>>(sql: string): Promise<readonly Row[]> => {
      const client = new pg.Client({ connectionString: primary.urlFor('postgres') });
      await client.connect();
      try {
        return (await client.query<Row>(sql)).rows;
      } finally {
        await client.end();
      }
    };
    const untilMs = Date.now() + STREAMING_TIMEOUT_MS;
    while ((await ask(`SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '${STANDBY}'`)).length === 0) {
      if (Date.now() > untilMs) throw new OperationalError('STANDBY_NOT_STREAMING', `the standby did not connect within ${STREAMING_TIMEOUT_MS} ms`, 'not-done');
      await sleep(50);
    }
    return {
      primary,
      standby,
      async requireStandby() {
        await ask(`ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (${STANDBY})'`);
        await ask('SELECT pg_reload_conf()');
        while ((await ask("SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")).length === 0) await sleep(20);
      },
      async waitingCommits() {
        return (await ask<{ pid: number }>("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).map((row) => row.pid);
      },
      async stop() {
        // The standby first: a primary that shuts down waits until its standby has everything.
        await standby.stop();
        await primary.stop();
      },
    };
  } catch (error) {
    await primary.stop();
    throw error;
  }
}

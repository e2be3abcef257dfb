import { systemClock } from '@settlement/config/system-ports';
import type { Clock } from '@settlement/kernel/time';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Tenure } from './ownership';
import { postgresOwners, type PostgresOwners } from './postgres-owners';

const PARTITIONS = 4;

let postgres: LocalPostgres;
beforeAll(async () => {
  postgres = await startPostgres({ databases: ['owners'] });
});
afterAll(async () => {
  await postgres?.stop();
});

/** A process that wants every partition of a name, for as long as it runs, and notes what it has. */
class Member {
  readonly owners: PostgresOwners;
  readonly has = new Map<number, Tenure>();
  private readonly stopped = new AbortController();
  private readonly loops: Promise<void>[];

  constructor(name: string, clock: Clock = systemClock, silentMsMax = 1_500) {
    this.owners = postgresOwners({ url: postgres.urlFor('owners'), source: 'shop', clock, log: { warn: () => undefined }, tickMs: 50, silentMsMax });
    this.loops = Array.from({ length: PARTITIONS }, (_, partition) => this.loop(name, partition));
  }

  private async loop(name: string, partition: number): Promise<void> {
    for (;;) {
      const tenure = await this.owners.own(name, partition, PARTITIONS, this.stopped.signal);
      if (tenure === undefined) return;
      this.has.set(partition, tenure);
      await new Promise<void>((resolve) => {
        if (tenure.ended.aborted || this.stopped.signal.aborted) resolve();
        for (const signal of [tenure.ended, this.stopped.signal]) signal.addEventListener('abort', () => resolve());
      });
      this.has.delete(partition);
      await tenure.release();
    }
  }

  async leave(): Promise<void> {
    this.stopped.abort();
    await Promise.all(this.loops);
    await this.owners.close();
  }
}

const members: Member[] = [];
function member(...args: ConstructorParameters<typeof Member>): Member {
  const it = new Member(...args);
  members.push(it);
  return it;
}
afterEach(async () => {
  await Promise.all(members.splice(0).map((it) => it.leave()));
});

async function until(what: string, is: () => boolean, timeoutMs = 10_000): Promise<number> {
  const startMs = performance.now();
  while (!is()) {
    if (performance.now() - startMs > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await systemClock.sleep(10);
  }
  return performance.now() - startMs;
}

const sizes = (...all: readonly Member[]): readonly number[] => all.map(({ has }) => has.size);
const once = (...all: readonly Member[]): boolean => new Set(all.flatMap(({ has }) => [...has.keys()])).size === all.reduce((sum, { has }) => sum + has.size, 0);

describe('partitions with an owner', () => {
  it('belong to the only process at once', async () => {
    const only = member('alone');
    expect(await until('all four', () => only.has.size === PARTITIONS)).toBeLessThan(2_000);
  });

  it('are shared out fairly when a second and a third process come, and taken back when they leave', async () => {
    const first = member('shared');
    await until('all four', () => first.has.size === PARTITIONS);
    const second = member('shared');
    await until('two each', () => first.has.size === 2 && second.has.size === 2 && once(first, second));
    const third = member('shared');
    await until('none idle beyond its share', () => sizes(first, second, third).reduce((a, b) => a + b, 0) === PARTITIONS && once(first, second, third));
    await second.leave();
    await third.leave();
    await until('all four again', () => first.has.size === PARTITIONS);
  });

  it('of an uneven share are found wherever they become free', async () => {
    const [first, second] = [member('uneven'), member('uneven')];
    await until('two each', () => first.has.size === 2 && second.has.size === 2);
    const third = member('uneven');
    await systemClock.sleep(300);
    await first.leave();
    await until('the third has what the first had', () => second.has.size === 2 && third.has.size === 2 && once(second, third));
  });

  it('of different consumers do not meet', async () => {
    const [ledger, webhooks] = [member('ledger'), member('webhooks')];
    await until('four each', () => ledger.has.size === PARTITIONS && webhooks.has.size === PARTITIONS);
  });

  it('change hands within 2 s of the end of a connection, and the former owner is told', async () => {
    const [first, second] = [member('cut'), member('cut')];
    await until('two each', () => first.has.size === 2 && second.has.size === 2);
    const [lost] = [...first.has.values()];
    const client = new pg.Client({ connectionString: postgres.urlFor('postgres') });
    await client.connect();
    await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'settlement-shop-owner'`);
    await client.end();
    await until('told', () => lost?.ended.aborted === true, 1_000);
    expect(await until('all owned again', () => first.has.size + second.has.size === PARTITIONS && once(first, second))).toBeLessThan(2_000);
  });

  it('of a process that stands still go to the others, and it finds out when it wakes', async () => {
    // A stopped process, or a machine without power: its connection stays open in the server, and nothing comes over it.
    let frozen = false;
    const thawed = Promise.withResolvers<void>();
    const clock: Clock = { ...systemClock, sleep: async (ms, signal) => (frozen ? thawed.promise : systemClock.sleep(ms, signal)) };
    const zombie = member('zombie', clock);
    const other = member('zombie');
    await until('two each', () => zombie.has.size === 2 && other.has.size === 2);
    const kept = [...zombie.has.values()];
    frozen = true;
    const tookMs = await until('the other has all', () => other.has.size === PARTITIONS);
    expect(tookMs).toBeGreaterThan(1_000);
    expect(tookMs).toBeLessThan(5_000);
    frozen = false;
    thawed.resolve();
    await until('the zombie knows', () => kept.every(({ ended }) => ended.aborted));
    await until('two each again', () => zombie.has.size === 2 && other.has.size === 2 && once(zombie, other));
  });

  it('are owned again after the database was killed and came back', async () => {
    const [first, second] = [member('restart'), member('restart')];
    await until('two each', () => first.has.size === 2 && second.has.size === 2);
    await postgres.kill9();
    await until('nobody claims anything', () => first.has.size === 0 && second.has.size === 0);
    await postgres.start();
    await until('two each', () => first.has.size === 2 && second.has.size === 2 && once(first, second));
  });

  it('are left without delay when a process closes, also while the database is away', async () => {
    const only = member('closing');
    await until('all four', () => only.has.size === PARTITIONS);
    postgres.freeze();
    const startMs = performance.now();
    await only.leave();
    expect(performance.now() - startMs).toBeLessThan(6_000);
    postgres.thaw();
  });
});

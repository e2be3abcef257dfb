import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { appendOf, event, openStore } from '../test/store-fixture';

const ROOT = join(import.meta.dirname, '../../..');

describe('npm run events', () => {
  let server: LocalPostgres;
  let url: string;
  let dir: string;
  let file: string;
  const events = (...args: string[]) => spawnSync('node', ['tools/run.mjs', 'events', ...args], { cwd: ROOT, encoding: 'utf8' });
  const superuser = async (...statements: string[]) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    // What an intruder with the superuser's rights would do: the append-only trigger does not stop him, the chain shows it.
    await client.query("SET session_replication_role = 'replica'");
    for (const statement of statements) await client.query(statement);
    await client.end();
  };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'settlement-events-cli-'));
    file = join(dir, 'export.ndjson');
    server = await startPostgres({ databases: ['gateway'] });
    url = server.urlFor('gateway');
    const store = await openStore(url);
    for (let i = 0; i < 8; i += 1) await store.append(appendOf(`payment-${i}`, `c-${i}`, 'must-not-exist', event('PaymentAccepted', `a${i}`), event('PaymentScreened', `b${i}`)));
    await store.close();
    expect(events('export', '--url', url, '--out', file).status).toBe(0);
  });
  afterAll(async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  });

  it('shows a stream and tails a partition', () => {
    const shown = events('show', 'payment-3', '--url', url);
    expect(shown.stdout).toContain('payment-3#1  PaymentAccepted');
    expect(shown.stdout).toContain('payment-3#2  PaymentScreened');
    expect(events('show', 'payment-99', '--url', url).status).toBe(1);
    expect(events('tail', '--url', url, '--partition', '0', '--from', '1').status).toBe(0);
  });

  it('explains wrong usage with exit code 2 and a dead database with 3', () => {
    expect(events('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('npm run events -- verify') });
    expect(events('verfiy', '--url', url)).toMatchObject({ status: 2, stderr: expect.stringContaining('unknown command') });
    expect(events('tail', '--partition', 'x', '--url', url)).toMatchObject({ status: 2, stderr: expect.stringContaining('--partition') });
    expect(events('verify', '--url', 'postgresql://nobody@127.0.0.1:1/none').status).toBe(3);
  });

  it('finds a log and its export unchanged', () => {
    expect(events('verify', '--url', url)).toMatchObject({ status: 0, stdout: expect.stringContaining('ok   gateway: 16 events in 4 partitions') });
    expect(events('verify', '--file', file)).toMatchObject({ status: 0, stdout: expect.stringContaining('16 events') });
  });

  /** The longest partition of the export, as line numbers of its events. */
  function longest(): { readonly partition: number; readonly lines: string[]; readonly at: number[] } {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const byPartition = Map.groupBy(lines.keys(), (i) => {
      const line = JSON.parse(lines[i] ?? '') as { kind: string; partition?: number };
      return line.kind === 'event' ? (line.partition ?? -1) : -1;
    });
    byPartition.delete(-1);
    const [[partition, at] = [0, []]] = [...byPartition].sort(([, a], [, b]) => b.length - a.length);
    return { partition, lines, at };
  }

  function verifyLines(lines: readonly (string | undefined)[]) {
    const bad = join(dir, 'bad.ndjson');
    writeFileSync(bad, `${lines.filter((line) => line !== undefined).join('\n')}\n`);
    return events('verify', '--file', bad);
  }

  it.each([
    ['a changed payload', (lines: string[], at: number[]) => lines.with(at[1] ?? 0, (lines[at[1] ?? 0] ?? '').replace(/"payload":"(..)/, '"payload":"ff')), 2, 'was changed'],
    ['a changed amount', (lines: string[], at: number[]) => lines.with(at[0] ?? 0, (lines[at[0] ?? 0] ?? '').replace('1250000', '1250001')), 1, 'was changed'],
    ['a deleted event', (lines: string[], at: number[]) => lines.toSpliced(at[1] ?? 0, 1), 2, 'is missing'],
    ['two swapped events', (lines: string[], at: number[]) => lines.with(at[0] ?? 0, lines[at[1] ?? 0] ?? '').with(at[1] ?? 0, lines[at[0] ?? 0] ?? ''), 1, 'is missing'],
    ['a tail that was cut off', (lines: string[], at: number[]) => lines.toSpliced(at.at(-1) ?? 0, 1), 0, 'the head says'],
  ])('names the first bad event: %s', (_name, tamper, position, reason) => {
    const { partition, lines, at } = longest();
    const result = verifyLines(tamper(lines, at));
    expect(result.status).toBe(1);
    expect(result.stdout).toContain(`partition ${partition}, position ${position === 0 ? at.length : position}:`);
    expect(result.stdout).toContain(reason);
  });

  it('names the first bad event of a live log that a superuser has changed', async () => {
    const { partition, at } = longest();
    await superuser(`UPDATE event_store.event SET payload = 'forged' WHERE partition = ${partition} AND position = 2`);
    expect(events('verify', '--url', url)).toMatchObject({ status: 1, stdout: expect.stringContaining(`partition ${partition}, position 2: the hash does not fit`) });
    await superuser(`DELETE FROM event_store.event WHERE partition = ${partition} AND position = ${at.length}`, `UPDATE event_store.event SET payload = convert_to('b0', 'UTF8') WHERE false`);
    expect(events('verify', '--url', url).status).toBe(1);
  });

  it('cannot be changed by an ordinary statement', async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await expect(client.query("UPDATE event_store.event SET payload = ''")).rejects.toThrow(/append-only/);
    await expect(client.query('DELETE FROM event_store.event')).rejects.toThrow(/append-only/);
    await client.end();
  });
});

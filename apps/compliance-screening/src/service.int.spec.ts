import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, credentials } from '@grpc/grpc-js';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { Role, ScreeningReason, ScreeningServiceService, Subject, Verdict, type ScreenRequest } from '@settlement/proto/screening/v1/screening';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { ServiceUnderTest } from '@settlement/testing/service-under-test';
import { service as healthDefinition } from 'grpc-health-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const LISTED = '0x7F367cC41522cE07553e823bf3be79A889DEbe1B';
const CLEAN = '0x1111111111111111111111111111111111111111';
const SECRET_NAME = 'Zaphod Quibblethwaite';
const LISTED_NAME = 'TESTOV, Sandbox';
/** A key for tests; no other use. */
const KEY = '5e77'.repeat(16);

let postgres: LocalPostgres;
let folder: string;
let service: ServiceUnderTest;
let client: RpcClient<typeof ScreeningServiceService>;

const ask = (screeningId: string, address = CLEAN, name = ''): ScreenRequest => ({
  screeningId,
  subject: Subject.SUBJECT_PAYMENT,
  subjectId: `pay-${screeningId}`,
  parties: [{ role: Role.ROLE_PAYER, chainId: 'eip155:31337', address, name }],
});
const sandbox = (names: readonly string[] = [LISTED_NAME], version = 'sandbox-1'): void =>
  writeSandboxList(join(folder, 'sandbox'), { addresses: [LISTED, ...Array.from({ length: 20 }, (_, i) => `0x${String(i).padStart(40, '9')}`)], names }, version);

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['compliance_screening'] });
  folder = mkdtempSync(join(tmpdir(), 'settlement-lists-'));
  service = await ServiceUnderTest.prepare('compliance-screening', {
    DATABASE_URL: postgres.urlFor('compliance_screening'),
    LISTS_DIR: folder,
    LISTS_POLL_MS: '50',
    PARTIES_DIGEST_KEYS: KEY,
  });
  client = grpcClient(ScreeningServiceService, service.address);
});
afterAll(async () => {
  client?.close();
  await service?.dispose();
  await postgres?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

describe('compliance-screening as a process', () => {
  it('names every configuration problem at once, without its value, and leaves with 78', async () => {
    service.start({ PARTIES_DIGEST_KEYS: 'too-short-a-secret', LISTS_DIR: '', LIST_MAX_AGE_MS: 'soon' });
    expect(await service.ended()).toBe(78);
    for (const variable of ['PARTIES_DIGEST_KEYS', 'LISTS_DIR', 'LIST_MAX_AGE_MS']) expect(service.output).toContain(variable);
    expect(service.output).not.toContain('too-short-a-secret');
  });

  it('without a list is alive but not ready, and decides nothing', async () => {
    service.start();
    await service.until(({ status, body }) => status === 503 && body.includes('no list: put the files'));
    await expect(client.screen(ask('s0'), { deadlineMs: 15_000 })).rejects.toMatchObject({ code: 'NO_USABLE_LIST', outcome: 'not-done' });
    await servingIs('NOT_SERVING');
  });

  it('becomes ready by itself once a list is there', async () => {
    sandbox();
    await service.ready();
    await servingIs('SERVING');
    const { versions } = await client.listVersions({});
    expect(versions).toMatchObject([{ listId: 'sandbox', version: 'sandbox-1', entries: 22n, active: true }]);
  });

  it('allows, holds and rejects, with the matched entry and the list version', async () => {
    const { items } = await client.screenMany({ items: [ask('s1'), ask('s2', CLEAN, 'sandbox TESTOV'), ask('s3', LISTED.toUpperCase().replace('0X', '0x'))] });
    expect(items).toMatchObject([
      { verdict: Verdict.VERDICT_ALLOW, reason: ScreeningReason.SCREENING_REASON_NO_MATCH, matches: [] },
      { verdict: Verdict.VERDICT_HOLD, reason: ScreeningReason.SCREENING_REASON_NAME_MATCH, matches: [{ entryName: LISTED_NAME, matchedOn: 'name' }] },
      { verdict: Verdict.VERDICT_REJECT, reason: ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS, matches: [{ listId: 'sandbox', entryId: '900002', matchedOn: 'address', program: 'SANDBOX' }] },
    ]);
    expect(items[0]?.listVersions[0]).toMatch(/^sandbox@sandbox-1#sha256:[0-9a-f]{64}$/);
    expect((await client.getScreening({ screeningId: 's3' })).screening).toEqual(items[2]);
    await expect(client.getScreening({ screeningId: 'never' })).rejects.toMatchObject({ code: 'SCREENING_NOT_FOUND' });
  });

  it('refuses bad input with every path, and a recorded id with other parties', async () => {
    await expect(client.screenMany({ items: [ask('bad id'), ask('s4', '0x12'), { ...ask('s5'), parties: [] }] })).rejects.toMatchObject({
      issues: [{ path: 'items[0].screening_id' }, { path: 'items[0].subject_id' }, { path: 'items[1].parties[0].address' }, { path: 'items[2].parties' }],
    });
    await expect(client.screen(ask('s1', LISTED))).rejects.toMatchObject({ name: 'InvalidInput' });
  });

  it('keeps the last good version when the next one is empty, cut or much smaller', async () => {
    writeFileSync(join(folder, 'sandbox/sdn.csv'), '');
    await service.wrote('"reason":"EMPTY"');
    expect((await client.listVersions({})).versions).toHaveLength(1);
    expect((await client.screen(ask('s6', LISTED))).verdict).toBe(Verdict.VERDICT_REJECT);
    expect((await service.health()).status).toBe(200);
    writeSandboxList(join(folder, 'sandbox'), { addresses: [], names: [LISTED_NAME] }, 'sandbox-shrunk');
    await service.wrote('"reason":"SHRUNK"');
    expect((await client.screen(ask('s7', LISTED))).verdict).toBe(Verdict.VERDICT_REJECT);
    expect(await service.metrics()).toMatch(/screening_list_versions_refused_total\{list="sandbox",reason="EMPTY"[^}]*\} 1/);
  });

  it('after SIGKILL and with an emptied folder goes on with the last good version and the recorded decisions', async () => {
    await service.signal('SIGKILL');
    rmSync(join(folder, 'sandbox'), { recursive: true });
    service.start();
    await service.ready();
    expect((await client.screen(ask('s8', LISTED))).verdict).toBe(Verdict.VERDICT_REJECT);
    expect((await client.screen(ask('s1'))).decidedAtNs).toBe((await client.getScreening({ screeningId: 's1' })).screening?.decidedAtNs);
  });

  it('answers a repetition as it was recorded although the list has changed since', async () => {
    const before = await client.screen(ask('s9', CLEAN, 'NEWCOMER, Joan'));
    sandbox([LISTED_NAME, 'NEWCOMER, Joan'], 'sandbox-2');
    await service.until(({ body }) => body.includes('sandbox-2'));
    expect(await client.screen(ask('s9', CLEAN, 'NEWCOMER, Joan'))).toEqual(before);
    expect((await client.screen(ask('s10', CLEAN, 'NEWCOMER, Joan'))).verdict).toBe(Verdict.VERDICT_HOLD);
  });

  it('writes no name and no screened address into log, events, metrics or tables (I9)', async () => {
    await client.screenMany({ items: [ask('n1', '0xABCDEFabcdefABCDEFabcdefABCDEFabcdefABCD', SECRET_NAME), ask('n2', CLEAN, SECRET_NAME)] });
    await expect(client.screen({ ...ask('n3', 'not an address', SECRET_NAME), subjectId: '' })).rejects.toMatchObject({ name: 'InvalidInput' });
    const everywhere = [service.output, await service.metrics(), await dump(postgres.urlFor('compliance_screening'))].join('\n').toLowerCase();
    expect(everywhere).toContain('screeningdecided');
    for (const word of [...SECRET_NAME.toLowerCase().split(' '), 'abcdefabcdefabcdef']) {
      expect(everywhere).not.toContain(word);
      expect(everywhere).not.toContain(Buffer.from(word).toString('hex'));
    }
  });

  it('screens 500 in one call', async () => {
    const timesMs: number[] = [];
    for (let call = 0; call < 12; call += 1) {
      const items = Array.from({ length: 500 }, (_, i) => ask(`b${call}-${i}`));
      const startedMs = performance.now();
      const answers = await client.screenMany({ items });
      timesMs.push(performance.now() - startedMs);
      expect(answers.items).toHaveLength(500);
      expect(answers.items[499]?.screeningId).toBe(`b${call}-499`);
    }
    const warm = timesMs.slice(2).sort((a, b) => a - b);
    const median = warm[Math.floor(warm.length / 2)] ?? 0;
    const judged = /screening_judge_duration_seconds_sum\{[^}]*\} ([0-9.e-]+)/.exec(await service.metrics())?.[1];
    process.stdout.write(`ScreenMany of 500: median ${median.toFixed(1)} ms a call, ${Math.round(500_000 / median)} screenings/s; all judging ${judged ?? '?'} s\n`);
  });

  it('turns not ready when a list is stale, and says so', async () => {
    expect(await service.signal('SIGTERM')).toBe(0);
    service.start({ LIST_MAX_AGE_MS: '1' });
    await service.until(({ status, body }) => status === 503 && body.includes('is stale'));
    await expect(client.screen(ask('stale'), { deadlineMs: 15_000 })).rejects.toMatchObject({ code: 'NO_USABLE_LIST' });
  });

  it('drains and leaves with 0 on SIGTERM', async () => {
    expect(await service.signal('SIGTERM')).toBe(0);
  });
});

/** What grpc.health.v1 says of the service; it follows within one look at the lists. */
async function servingIs(expected: string): Promise<void> {
  const health = new Client(service.address, credentials.createInsecure());
  const check = healthDefinition['Check'];
  if (check === undefined) throw new Error('no Check');
  try {
    let status: unknown;
    for (let attempt = 0; attempt < 400 && status !== expected; attempt += 1) {
      status = await new Promise((resolve, reject) => {
        const request = { service: 'settlement.screening.v1.ScreeningService' };
        health.makeUnaryRequest(check.path, check.requestSerialize, check.responseDeserialize, request, (error, response) => {
          if (error === null) resolve((response as { status: unknown } | undefined)?.status);
          else reject(error);
        });
      });
      await sleep(25);
    }
    expect(status).toBe(expected);
  } finally {
    health.close();
  }
}

/** Everything that stands in the database, bytes as hex. */
async function dump(url: string): Promise<string> {
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  try {
    const { rows: tables } = await db.query<{ name: string }>(`SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'list_file'`);
    let text = '';
    for (const { name } of tables) {
      const { rows } = await db.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
      text += rows.map(({ row }) => row).join('\n');
    }
    return text;
  } finally {
    await db.end();
  }
}

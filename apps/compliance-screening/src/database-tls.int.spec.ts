import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { TestAuthority } from '@settlement/testing/certificates';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { ServiceUnderTest } from '@settlement/testing/service-under-test';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** A key for tests; no other use. */
const KEY = '5e77'.repeat(16);

let postgres: LocalPostgres;
let admin: pg.Client;
let folder: string;
let service: ServiceUnderTest;

/** Written by the server itself, into its own folder: that is where it is, on this machine or in a container. */
async function writeAtServer(file: string, text: string): Promise<void> {
  await admin.query(`COPY (VALUES ('${Buffer.from(text).toString('base64')}')) TO PROGRAM 'base64 -d > ${file} && chmod 600 ${file}'`);
}

const urlWith = (query: string): string => `${postgres.urlFor('compliance_screening')}?${query}`;
const verified = (authority: string): string => urlWith(`sslmode=verify-full&sslrootcert=${join(folder, authority)}`);

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['compliance_screening'] });
  admin = new pg.Client({ connectionString: postgres.urlFor('postgres') });
  await admin.connect();
  folder = mkdtempSync(join(tmpdir(), 'settlement-database-tls-'));
  writeSandboxList(join(folder, 'lists/sandbox'), { addresses: [], names: ['TESTOV, Sandbox'] }, 'sandbox-1');
  const authority = TestAuthority.root();
  writeFileSync(join(folder, 'ca.crt'), authority.certificate);
  writeFileSync(join(folder, 'other.crt'), TestAuthority.root('another authority').certificate);
  const { certificate, key } = authority.issue({ dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] });
  await writeAtServer('server.crt', certificate);
  await writeAtServer('server.key', key);
  await admin.query('ALTER SYSTEM SET ssl = on');
  await admin.query('SELECT pg_reload_conf()');
  while ((await admin.query<{ ssl: string }>('SHOW ssl')).rows[0]?.ssl !== 'on') await systemClock.sleep(20);
  service = await ServiceUnderTest.prepare('compliance-screening', { LISTS_DIR: join(folder, 'lists'), LISTS_POLL_MS: '50', PARTIES_DIGEST_KEYS: KEY });
});
afterAll(async () => {
  await service?.dispose();
  await admin?.end();
  await postgres?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

describe('a database over TLS', () => {
  it('is reached over TLS by every connection of the migration and of the service', async () => {
    // Whoever connects without TLS is turned away from here on.
    const [hba] = (await admin.query<{ hba_file: string }>('SHOW hba_file')).rows;
    await admin.query(`COPY (VALUES ('hostssl compliance_screening all all trust'), ('host postgres all all trust')) TO '${hba?.hba_file}'`);
    await admin.query('SELECT pg_reload_conf()');
    service.start({ DATABASE_URL: verified('ca.crt') }, ['migrate']);
    expect(await service.ended()).toBe(0);
    service.start({ DATABASE_URL: verified('ca.crt'), MIGRATIONS: 'wait' });
    await service.ready();
    const { rows } = await admin.query<{ application_name: string; ssl: boolean }>(
      `SELECT a.application_name, s.ssl FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.datname = 'compliance_screening' AND a.backend_type = 'client backend'`,
    );
    expect(rows.length).toBeGreaterThan(1);
    expect(rows.filter(({ ssl }) => !ssl)).toEqual([]);
    expect(await service.signal('SIGTERM')).toBe(0);
  });

  it('is not believed with another authority, or under another name, and the reason is told', async () => {
    service.start({ DATABASE_URL: verified('other.crt') });
    await service.until(({ status, body }) => status === 503 && /waiting for the database: .*(unable to verify|self.signed|unable to get)/.test(body));
    expect(await service.signal('SIGTERM')).toBe(0);
    const authority = TestAuthority.root('of another name');
    const foreign = authority.issue({ dnsNames: ['elsewhere.example'] });
    writeFileSync(join(folder, 'ca.crt'), authority.certificate);
    await writeAtServer('server.crt', foreign.certificate);
    await writeAtServer('server.key', foreign.key);
    await admin.query('SELECT pg_reload_conf()');
    service.start({ DATABASE_URL: verified('ca.crt') });
    await service.until(({ status, body }) => status === 503 && body.includes("does not match certificate's altnames"));
    expect(await service.signal('SIGTERM')).toBe(0);
  });

  it('whose authority\'s file is not there is waited for, with the file\'s name', async () => {
    service.start({ DATABASE_URL: verified('missing.crt') });
    await service.until(({ status, body }) => status === 503 && body.includes('missing.crt'));
    expect(await service.signal('SIGTERM')).toBe(0);
  });
});

import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestAuthority, type IssuedPair } from '@settlement/testing/certificates';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Peers, recordedLog } from '../../test/mutual-tls-peers';
import type { CertificateSource } from './certificate-source';

const HOUR_MS = 3_600_000;
/** Nothing is found by looking, only by what the file system tells. */
const toldOnly = { pollMs: 600_000 };
/** And the other way round: the folder is not watched for changes of what its links lead to elsewhere. */
const lookedOnly = { pollMs: 20 };

let peers: Peers;
let metrics: Registry;
let log: ReturnType<typeof recordedLog>;
beforeEach(() => {
  peers = new Peers();
  metrics = new Registry();
  log = recordedLog();
});
afterEach(() => peers.close());

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 5_000, interval: 10 });
const certificateOf = (source: CertificateSource): string => source.current.certificate.toString('utf8');
const counted = async (result: string): Promise<number> => Number(new RegExp(`settlement_tls_reloads_total\\{result="${result}"\\} (\\d+)`).exec(await metrics.metrics())?.[1] ?? -1);

describe('a certificate source', () => {
  it('takes a new version as the kubelet swaps it in, and says until when it is good', async () => {
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { ...toldOnly, logger: log, metrics });
    const heard: string[] = [];
    source.subscribe(({ serialNumber }) => heard.push(serialNumber));
    const before = source.current.serialNumber;
    const notAfter = new Date(Math.floor(Date.now() / 1_000) * 1_000 + HOUR_MS / 2);
    const next = peers.authority.issueWorkload('relayer', { notAfter });
    secret.put({ ...next, authorities: peers.authority.certificate });
    await until(() => expect(certificateOf(source)).toBe(next.certificate));
    expect(heard).toEqual([source.current.serialNumber]);
    expect(heard).not.toEqual([before]);
    expect(await counted('loaded')).toBe(1);
    expect(await metrics.metrics()).toContain(`settlement_tls_certificate_expiry_seconds ${notAfter.getTime() / 1_000}`);
  });

  it('takes twenty versions one after the other, each of them whole', async () => {
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { ...toldOnly, metrics });
    for (let i = 0; i < 20; i += 1) {
      const next = peers.authority.issueWorkload('relayer');
      secret.put({ ...next, authorities: peers.authority.certificate });
      await until(() => expect(source.current.key.toString('utf8')).toBe(next.key));
      expect(certificateOf(source)).toBe(next.certificate);
    }
    expect(await counted('rejected')).toBe(0);
  });

  it('finds by looking what the file system does not tell', async () => {
    const secret = peers.secret('relayer');
    const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, TLS_CA_FILE: caFile } = secret.environment;
    // The folder that is watched holds links only; what changes is elsewhere.
    const source = peers.source(secret, { ...lookedOnly, files: { certFile, keyFile, caFile, trustDomain: 'settlement' } });
    const next = peers.authority.issueWorkload('relayer');
    writeFileSync(keyFile, next.key);
    writeFileSync(certFile, next.certificate);
    await until(() => expect(certificateOf(source)).toBe(next.certificate));
  });

  it('follows files that a person replaces one after the other', async () => {
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { ...toldOnly, metrics });
    const next = peers.authority.issueWorkload('relayer');
    for (const [name, text] of [['tls.key', next.key], ['tls.crt', next.certificate]] as const) {
      writeFileSync(join(secret.folder, `${name}.new`), text);
      renameSync(join(secret.folder, `${name}.new`), join(secret.folder, name));
    }
    await until(() => expect(certificateOf(source)).toBe(next.certificate));
    expect(await counted('rejected')).toBe(0);
  });

  const rejected: readonly (readonly [what: string, code: string, pair: (it: Peers) => IssuedPair, authorities: string | undefined])[] = [
    ['a key that does not fit', 'KEY_MISMATCH', (it) => ({ ...it.authority.issueWorkload('relayer'), key: it.authority.issueWorkload('relayer').key }), undefined],
    ['an expired certificate', 'CERTIFICATE_EXPIRED', (it) => it.authority.issueWorkload('relayer', { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) }), undefined],
    ['a certificate of an authority beside it that did not issue it', 'CERTIFICATE_UNTRUSTED', (it) => it.authority.issueWorkload('relayer'), TestAuthority.root('new').certificate],
    ['another workload’s certificate', 'CERTIFICATE_IDENTITY', (it) => it.authority.issueWorkload('gateway'), undefined],
    ['half a file', 'CERTIFICATE_UNREADABLE', (it) => ({ ...it.authority.issueWorkload('relayer'), certificate: '-----BEGIN CERT' }), undefined],
  ];
  it.each(rejected)('keeps what it has when it finds %s, says so once and counts it, and takes the next good one', async (_what, code, pair, authorities) => {
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { pollMs: 20, logger: log, metrics });
    const before = certificateOf(source);
    secret.put({ ...pair(peers), authorities: authorities ?? peers.authority.certificate });
    const errors = () => log.lines.filter(({ level }) => level === 'error');
    await until(() => expect(errors()).toHaveLength(1));
    // Looked at again and again meanwhile.
    for (let i = 0; i < 3; i += 1) source.look();
    expect(errors()).toEqual([expect.objectContaining({ facts: expect.objectContaining({ err: expect.objectContaining({ code }) as object }) as object })]);
    expect(certificateOf(source)).toBe(before);
    expect(await counted('rejected')).toBe(1);
    expect(await counted('loaded')).toBe(0);
    const good = peers.authority.issueWorkload('relayer');
    secret.put({ ...good, authorities: peers.authority.certificate });
    await until(() => expect(certificateOf(source)).toBe(good.certificate));
    expect(await counted('loaded')).toBe(1);
  });

  it('keeps what it has while the files are away', async () => {
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { ...toldOnly, logger: log, metrics });
    const before = certificateOf(source);
    renameSync(join(secret.folder, '..data'), join(secret.folder, '..away'));
    await until(() => expect(log.lines.some(({ level }) => level === 'error')).toBe(true));
    expect(certificateOf(source)).toBe(before);
    renameSync(join(secret.folder, '..away'), join(secret.folder, '..data'));
    const next = peers.authority.issueWorkload('relayer');
    secret.put({ ...next, authorities: peers.authority.certificate });
    await until(() => expect(certificateOf(source)).toBe(next.certificate));
  });

  it('takes a certificate that came too early once its time has come', async () => {
    let nowMs = Date.now();
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { pollMs: 20, nowMs: () => nowMs, logger: log, metrics });
    const early = peers.authority.issueWorkload('relayer', { notBefore: new Date(nowMs + 60_000) });
    secret.put({ ...early, authorities: peers.authority.certificate });
    await until(() => expect(log.lines.some(({ level }) => level === 'error')).toBe(true));
    nowMs += 61_000;
    await until(() => expect(certificateOf(source)).toBe(early.certificate));
    expect(await counted('rejected')).toBe(1);
  });

  it('says once that what it has has expired, and recovers with the renewed one', async () => {
    let nowMs = Date.now();
    const secret = peers.secret('relayer');
    const source = peers.source(secret, { pollMs: 20, nowMs: () => nowMs, logger: log });
    nowMs += 2 * HOUR_MS;
    await until(() => expect(log.lines.filter(({ message }) => message.includes('has expired'))).toHaveLength(1));
    source.look();
    expect(log.lines.filter(({ message }) => message.includes('has expired'))).toHaveLength(1);
    const authority = TestAuthority.root('renewed', { notAfter: new Date(nowMs + 10 * HOUR_MS) });
    const renewed = authority.issueWorkload('relayer', { notAfter: new Date(nowMs + HOUR_MS) });
    secret.put({ ...renewed, authorities: authority.certificate });
    await until(() => expect(certificateOf(source)).toBe(renewed.certificate));
  });

  it('does not come into being with files that would not work', () => {
    const secret = peers.secret('relayer', { ...peers.authority.issueWorkload('relayer'), key: 'no key' });
    expect(() => peers.source(secret)).toThrow(expect.objectContaining({ code: 'KEY_UNREADABLE' }) as Error);
    expect(() => peers.source(peers.secret('relayer'), { files: { certFile: '/nowhere/tls.crt', keyFile: '/nowhere/tls.key', caFile: '/nowhere/ca.crt', trustDomain: 'settlement' } })).toThrow(/cannot be read.*ENOENT/);
  });
});

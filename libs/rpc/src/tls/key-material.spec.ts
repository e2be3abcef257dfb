import { TestAuthority, type IssuedPair } from '@settlement/testing/certificates';
import { describe, expect, it } from 'vitest';
import { digestOf, parseKeyMaterial, type KeyMaterialFiles } from './key-material';

const HOUR_MS = 3_600_000;
const nowMs = Date.now();
const at = (hours: number) => new Date(nowMs + hours * HOUR_MS);
const authority = TestAuthority.root();

function files({ certificate, key }: IssuedPair, authorities = authority.certificate): KeyMaterialFiles {
  return { certificate: Buffer.from(certificate), key: Buffer.from(key), authorities: Buffer.from(authorities) };
}
const parse = (given: KeyMaterialFiles) => parseKeyMaterial(given, 'settlement', nowMs);

describe('key material that would work', () => {
  it('says whose it is and until when', () => {
    const notAfter = new Date(Math.floor(at(0.5).getTime() / 1_000) * 1_000);
    expect(parse(files(authority.issueWorkload('relayer', { notAfter })))).toMatchObject({ workload: 'relayer', notAfterMs: notAfter.getTime() });
  });

  it('comes through intermediates, and ends with the first of the chain that ends', () => {
    const notAfter = new Date(Math.floor(at(0.25).getTime() / 1_000) * 1_000);
    const through = authority.intermediate('one', { notAfter }).intermediate('two');
    expect(parse(files(through.issueWorkload('relayer')))).toMatchObject({ workload: 'relayer', notAfterMs: notAfter.getTime() });
  });

  it('is of either authority while one replaces the other, whatever their names and order', () => {
    const next = TestAuthority.root();
    for (const authorities of [authority.certificate + next.certificate, next.certificate + authority.certificate]) {
      for (const issuer of [authority, next]) expect(parse(files(issuer.issueWorkload('relayer'), authorities)).workload).toBe('relayer');
    }
  });

  it('is believed beside an authority that has expired', () => {
    const gone = TestAuthority.root('gone', { notBefore: at(-3), notAfter: at(-1) });
    expect(parse(files(authority.issueWorkload('relayer'), gone.certificate + authority.certificate)).workload).toBe('relayer');
  });

  it('has another digest with any other byte of any file', () => {
    const one = files(authority.issueWorkload('relayer'));
    const digests = [one, { ...one, key: Buffer.concat([one.key, Buffer.from('\n')]) }, { ...one, certificate: one.key, key: one.certificate }, { ...one, authorities: one.certificate }].map(digestOf);
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe('key material that peers would refuse is refused first', () => {
  const pair = authority.issueWorkload('relayer');
  const expiredRoot = TestAuthority.root('expired', { notBefore: at(-3), notAfter: at(-1) });
  const table: readonly (readonly [string, string, KeyMaterialFiles])[] = [
    ['a key of another certificate', 'KEY_MISMATCH', files({ ...pair, key: authority.issueWorkload('relayer').key })],
    ['a certificate that has expired', 'CERTIFICATE_EXPIRED', files(authority.issueWorkload('relayer', { notBefore: at(-2), notAfter: at(-1) }))],
    ['a certificate that is not yet valid', 'CERTIFICATE_NOT_YET_VALID', files(authority.issueWorkload('relayer', { notBefore: at(1), notAfter: at(2) }))],
    ['an authority that has expired', 'CERTIFICATE_EXPIRED', files(expiredRoot.issueWorkload('relayer'), expiredRoot.certificate)],
    ['an intermediate that has expired', 'CERTIFICATE_EXPIRED', files(authority.intermediate('old', { notBefore: at(-2), notAfter: at(-1) }).issueWorkload('relayer'))],
    ['an authority that did not issue it', 'CERTIFICATE_UNTRUSTED', files(pair, TestAuthority.root('another').certificate)],
    ['an authority of the same name that did not issue it', 'CERTIFICATE_UNTRUSTED', files(pair, TestAuthority.root().certificate)],
    ['an issuer that may not issue', 'CERTIFICATE_UNTRUSTED', files(authority.impostor('gateway').issueWorkload('relayer'))],
    ['a certificate without identity', 'CERTIFICATE_IDENTITY', files(authority.issue({ dnsNames: ['settlement-relayer'] }))],
    ['another trust domain', 'CERTIFICATE_IDENTITY', files(authority.issueWorkload('relayer', { trustDomain: 'staging' }))],
    ['an empty certificate file', 'CERTIFICATE_UNREADABLE', files({ ...pair, certificate: '' })],
    ['half a certificate', 'CERTIFICATE_UNREADABLE', files({ ...pair, certificate: pair.certificate.slice(0, 200) })],
    ['a certificate that is none', 'CERTIFICATE_UNREADABLE', files({ ...pair, certificate: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' })],
    ['a key that is none', 'KEY_UNREADABLE', files({ ...pair, key: 'secret words' })],
    ['no authorities', 'AUTHORITY_UNREADABLE', files(pair, '')],
  ];
  it.each(table)('%s', (_what, code, given) => {
    expect(() => parse(given)).toThrow(expect.objectContaining({ name: 'OperationalError', code, outcome: 'not-done' }) as Error);
  });

  it('without a word of the key', () => {
    const key = 'secret words that are no key';
    try {
      parse(files({ ...pair, key }));
    } catch (error) {
      expect(String(error)).not.toContain('secret');
      return;
    }
    throw new Error('expected a failure');
  });
});

import { X509Certificate } from 'node:crypto';
import { TestAuthority } from '@settlement/testing/certificates';
import { describe, expect, it } from 'vitest';
import { identityOf } from './workload-identity';

const authority = TestAuthority.root();
/** Through a real certificate, so that the text is what Node makes of it. */
const of = (uris: readonly string[], dnsNames: readonly string[] = []) => identityOf(new X509Certificate(authority.issue({ uris, dnsNames }).certificate).subjectAltName, 'settlement');

describe('a certificate’s identity', () => {
  it('is the last part of its SPIFFE id', () => {
    expect(of(['spiffe://settlement/batch-settlement'], ['settlement-batch-settlement', 'settlement-batch-settlement.settlement.svc'])).toEqual({ ok: true, workload: 'batch-settlement' });
  });

  it.each([
    ['no alternative names', [], [], 'NO_IDENTITY'],
    ['names of hosts only', [], ['settlement-relayer'], 'NO_IDENTITY'],
    ['a host that is named like a URI', [], ['URI:spiffe://settlement/relayer'], 'NO_IDENTITY'],
    ['a host with a URI behind a comma', [], ['a, URI:spiffe://settlement/relayer'], 'NO_IDENTITY'],
    ['two URIs', ['spiffe://settlement/relayer', 'spiffe://settlement/gateway'], [], 'SEVERAL_IDENTITIES'],
    ['a URI that holds another behind a comma', ['spiffe://settlement/relayer, URI:spiffe://settlement/gateway'], [], 'MALFORMED_IDENTITY'],
    ['another trust domain', ['spiffe://other/relayer'], [], 'OTHER_TRUST_DOMAIN'],
    ['a trust domain that only begins alike', ['spiffe://settlement.example/relayer'], [], 'OTHER_TRUST_DOMAIN'],
    ['another scheme', ['https://settlement/relayer'], [], 'MALFORMED_IDENTITY'],
    ['a deeper path', ['spiffe://settlement/ns/relayer'], [], 'MALFORMED_IDENTITY'],
    ['no path', ['spiffe://settlement'], [], 'MALFORMED_IDENTITY'],
    ['an empty path', ['spiffe://settlement/'], [], 'MALFORMED_IDENTITY'],
    ['a query', ['spiffe://settlement/relayer?x=1'], [], 'MALFORMED_IDENTITY'],
    ['a port', ['spiffe://settlement:443/relayer'], [], 'MALFORMED_IDENTITY'],
  ] as const)('is not found in %s', (_what, uris, dnsNames, code) => {
    expect(of(uris, dnsNames)).toMatchObject({ ok: false, code });
  });

  it('is kept apart from control characters and length in what is said about it', () => {
    const said = of([`spiffe://settlement/\u001b[31m${'x'.repeat(500)}`]);
    expect(said).toMatchObject({ ok: false, code: 'MALFORMED_IDENTITY' });
    expect(JSON.stringify(said)).not.toContain('\u001b');
    expect(JSON.stringify(said).length).toBeLessThan(400);
  });
});

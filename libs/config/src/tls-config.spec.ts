import { InvalidInput } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseEnvironment } from './environment';
import { isLoopback, plaintextVariable, refuseOpenPlaintext, tlsFilesOf, tlsVariables } from './tls-config';

const schema = z.object({ ...tlsVariables, GRPC_HOST: z.string().default('127.0.0.1'), ALLOW_PLAINTEXT: plaintextVariable });
const files = { TLS_CERT_FILE: '/tls/tls.crt', TLS_KEY_FILE: '/tls/tls.key', TLS_CA_FILE: '/tls/ca.crt' };

function issuesOf(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof InvalidInput) return error.issues.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

describe('the files of mutual TLS', () => {
  it('may all be absent, which is plain text', () => {
    expect(tlsFilesOf(parseEnvironment(schema, {}))).toBeUndefined();
  });

  it('are given together, in the trust domain `settlement` unless told otherwise', () => {
    expect(tlsFilesOf(parseEnvironment(schema, files))).toEqual({ certFile: '/tls/tls.crt', keyFile: '/tls/tls.key', caFile: '/tls/ca.crt', trustDomain: 'settlement' });
    expect(tlsFilesOf(parseEnvironment(schema, { ...files, TLS_TRUST_DOMAIN: 'drill.example' }))).toMatchObject({ trustDomain: 'drill.example' });
  });

  it.each(Object.keys(files))('are refused without %s, which the message names', (missing) => {
    const [issue, ...others] = issuesOf(() => parseEnvironment(schema, { ...files, [missing]: '' }));
    expect(issue).toContain(`${missing}: is missing`);
    expect(others).toEqual([]);
  });

  it('name both that are missing beside a single one', () => {
    expect(issuesOf(() => parseEnvironment(schema, { TLS_KEY_FILE: '/k' }))).toHaveLength(2);
  });

  it.each(['Settlement', 'a b', 'a/b', 'a:1'])('are not accepted in the trust domain %j', (domain) => {
    expect(issuesOf(() => parseEnvironment(schema, { ...files, TLS_TRUST_DOMAIN: domain }))).toHaveLength(1);
  });
});

describe('a port that others reach', () => {
  const check = (environment: Record<string, string>) => () => {
    refuseOpenPlaintext(parseEnvironment(schema, environment));
  };

  it.each(['0.0.0.0', '::', '', '10.1.2.3', 'relayer'])('on %j is refused without TLS', (host) => {
    const given = host === '' ? { GRPC_HOST: ' ' } : { GRPC_HOST: host };
    expect(issuesOf(check(given))).toEqual([expect.stringMatching(/^GRPC_HOST: .*ALLOW_PLAINTEXT/)]);
  });

  it('is served with TLS, or when somebody says that plain text is meant', () => {
    expect(issuesOf(check({ GRPC_HOST: '0.0.0.0', ...files }))).toEqual([]);
    expect(issuesOf(check({ GRPC_HOST: '0.0.0.0', ALLOW_PLAINTEXT: 'true' }))).toEqual([]);
  });

  it.each(['127.0.0.1', '127.8.0.1', '::1', '[::1]', 'localhost', '::ffff:127.0.0.1'])('is not one on %s', (host) => {
    expect(isLoopback(host)).toBe(true);
    expect(issuesOf(check({ GRPC_HOST: host }))).toEqual([]);
  });

  it.each(['127.0.0.1.example.com', 'localhost.example.com', '1270.0.0.1', '::2'])('is one on %s', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
});

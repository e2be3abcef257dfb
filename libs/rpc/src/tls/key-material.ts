import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { OperationalError } from '@settlement/kernel/errors';
import { identityOf } from './workload-identity';

/** The bytes of one version of the three files. */
export interface KeyMaterialFiles {
  readonly certificate: Buffer;
  readonly key: Buffer;
  readonly authorities: Buffer;
}

/** A pair that fits, from an authority that is believed, valid now. */
export interface KeyMaterial extends KeyMaterialFiles {
  readonly workload: string;
  readonly serialNumber: string;
  /** The earliest end of the chain: from then on peers refuse it. Unix milliseconds. */
  readonly notAfterMs: number;
  readonly digest: string;
}

/** `code`s of the errors below. */
export type KeyMaterialFault = 'CERTIFICATE_UNREADABLE' | 'KEY_UNREADABLE' | 'AUTHORITY_UNREADABLE' | 'KEY_MISMATCH' | 'CERTIFICATE_EXPIRED' | 'CERTIFICATE_NOT_YET_VALID' | 'CERTIFICATE_UNTRUSTED' | 'CERTIFICATE_IDENTITY';

/** Longer chains are not made by anybody on purpose. */
const CHAIN_MAX = 8;

export function digestOf({ certificate, key, authorities }: KeyMaterialFiles): string {
  const hash = createHash('sha256');
  for (const part of [certificate, key, authorities]) hash.update(createHash('sha256').update(part).digest());
  return hash.digest('hex');
}

/**
 * Judges the files as a peer would, before any peer sees them: TLS itself would take a pair that every handshake then refuses.
 * Throws `OperationalError` with a `KeyMaterialFault` as its code; the message names what does not fit and never quotes a key.
 *
 * Node's X509Certificate checks names and signatures, not the whole of RFC 5280; the peers' OpenSSL has the last word.
 */
export function parseKeyMaterial(files: KeyMaterialFiles, trustDomain: string, nowMs: number): KeyMaterial {
  const chain = certificatesOf(files.certificate, 'CERTIFICATE_UNREADABLE', 'the certificate file');
  const [leaf] = chain;
  if (leaf === undefined) throw fault('CERTIFICATE_UNREADABLE', 'the certificate file holds no certificate');
  const roots = certificatesOf(files.authorities, 'AUTHORITY_UNREADABLE', 'the authority file');
  if (roots.length === 0) throw fault('AUTHORITY_UNREADABLE', 'the authority file holds no certificate');
  if (!leaf.checkPrivateKey(privateKeyOf(files.key))) throw fault('KEY_MISMATCH', 'the private key does not belong to the certificate');

  const path = pathToRoot(leaf, chain.slice(1), roots, nowMs);
  for (const certificate of path) requireValid(certificate, nowMs);
  const identified = identityOf(leaf.subjectAltName, trustDomain);
  if (!identified.ok) throw fault('CERTIFICATE_IDENTITY', identified.why);
  return {
    ...files,
    workload: identified.workload,
    serialNumber: leaf.serialNumber,
    notAfterMs: Math.min(...path.map((certificate) => certificate.validToDate.getTime())),
    digest: digestOf(files),
  };
}

/** From the leaf to an authority, both included. While an authority is renewed, two have one name: a valid one is preferred. */
function pathToRoot(leaf: X509Certificate, intermediates: readonly X509Certificate[], roots: readonly X509Certificate[], nowMs: number): readonly X509Certificate[] {
  const path = [leaf];
  for (let top = leaf; path.length <= CHAIN_MAX; ) {
    const issued = (by: X509Certificate): boolean => by.ca && top.checkIssued(by) && top.verify(by.publicKey);
    const candidates = roots.filter(issued);
    const root = candidates.find((it) => isValid(it, nowMs)) ?? candidates[0];
    if (root !== undefined) return [...path, root];
    const next = intermediates.find((it) => !path.includes(it) && issued(it));
    if (next === undefined) break;
    path.push(next);
    top = next;
  }
  throw fault('CERTIFICATE_UNTRUSTED', `no authority in the authority file has issued the certificate (its issuer is ${JSON.stringify(leaf.issuer.slice(0, 200))})`);
}

function isValid(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs < certificate.validToDate.getTime();
}

function requireValid(certificate: X509Certificate, nowMs: number): void {
  const what = certificate.ca ? 'the authority' : 'the certificate';
  const { validFromDate, validToDate } = certificate;
  if (nowMs < validFromDate.getTime()) throw fault('CERTIFICATE_NOT_YET_VALID', `${what} is valid only from ${validFromDate.toISOString()}`);
  if (nowMs >= validToDate.getTime()) throw fault('CERTIFICATE_EXPIRED', `${what} expired at ${validToDate.toISOString()}`);
}

function certificatesOf(pem: Buffer, code: KeyMaterialFault, what: string): readonly X509Certificate[] {
  const blocks = pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw fault(code, `${what} holds a certificate that cannot be read`, cause);
    }
  });
}

function privateKeyOf(pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw fault('KEY_UNREADABLE', 'the key file holds no private key that can be read without a password', cause);
  }
}

function fault(code: KeyMaterialFault, message: string, cause?: unknown): OperationalError {
  return new OperationalError(code, message, 'not-done', cause === undefined ? {} : { cause });
}

import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto';

/**
 * Writes X.509 v3 certificates (RFC 5280) as DER, as far as tests need them: ECDSA with SHA-256, a common name, and the
 * extensions below. Node reads certificates but makes none, and neither openssl nor a library of certificates is a
 * dependency of this repository.
 */
export interface CertificateFields {
  readonly subject: string;
  readonly issuer: string;
  readonly subjectKey: KeyObject;
  readonly issuerKey: KeyObject;
  /** Of the issuer's key, so that of two authorities with one name the right one is found. */
  readonly issuerPublicKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly authority: boolean;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

export function writeCertificate(fields: CertificateFields): string {
  const algorithm = sequence(objectId(OID.ecdsaWithSha256));
  const toBeSigned = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    name(fields.issuer),
    sequence(time(fields.notBefore), time(fields.notAfter)),
    name(fields.subject),
    fields.subjectKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(fields))),
  );
  const signature = sign('sha256', toBeSigned, fields.issuerKey);
  const der = sequence(toBeSigned, algorithm, bitString(signature));
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END CERTIFICATE-----\n`;
}

function extensions(fields: CertificateFields): readonly Buffer[] {
  const names = [
    ...fields.uris.map((uri) => tagged(0x86, Buffer.from(uri, 'latin1'))),
    ...fields.dnsNames.map((dns) => tagged(0x82, Buffer.from(dns, 'latin1'))),
    ...fields.ipAddresses.map((ip) => tagged(0x87, Buffer.from(ip.split('.').map(Number)))),
  ];
  return [
    extension(OID.subjectKeyIdentifier, tagged(0x04, keyIdentifier(fields.subjectKey))),
    extension(OID.authorityKeyIdentifier, sequence(tagged(0x80, keyIdentifier(fields.issuerPublicKey)))),
    ...(fields.authority
      ? // keyCertSign and cRLSign are bits 5 and 6.
        [extension(OID.basicConstraints, sequence(BOOLEAN_TRUE), true), extension(OID.keyUsage, tagged(0x03, Buffer.from([0x01, 0x06])), true)]
      : [
          // digitalSignature is bit 0.
          extension(OID.keyUsage, tagged(0x03, Buffer.from([0x07, 0x80])), true),
          extension(OID.extendedKeyUsage, sequence(objectId(OID.serverAuth), objectId(OID.clientAuth))),
        ]),
    ...(names.length === 0 ? [] : [extension(OID.subjectAltName, sequence(...names))]),
  ];
}

const BOOLEAN_TRUE = tagged(0x01, Buffer.from([0xff]));

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(objectId(id), ...(critical ? [BOOLEAN_TRUE] : []), tagged(0x04, value));
}

/** RFC 5280, 4.2.1.2: any value that follows from the key. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1').update(key.export({ type: 'spki', format: 'der' })).digest();
}

function name(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(objectId(OID.commonName), tagged(0x0c, Buffer.from(commonName, 'utf8')))));
}

/** UTCTime until 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). Whole seconds. */
function time(at: Date): Buffer {
  const digits = at.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '');
  return at.getUTCFullYear() < 2050 ? tagged(0x17, Buffer.from(digits.slice(2), 'latin1')) : tagged(0x18, Buffer.from(digits, 'latin1'));
}

function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const base128 = (value: number): number[] => {
    const bytes = [value & 0x7f];
    for (let left = value >>> 7; left > 0; left >>>= 7) bytes.unshift((left & 0x7f) | 0x80);
    return bytes;
  };
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** Unsigned: the bytes must not begin with a set bit. */
function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes);
}

function bitString(bytes: Buffer): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([0]), bytes]));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...header]), content]);
}

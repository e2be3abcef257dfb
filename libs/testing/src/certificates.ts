import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync, readlinkSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { writeCertificate } from './x509-writer';

const HOUR_MS = 3_600_000;

export interface Validity {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface IssuedPair {
  /** PEM; the leaf, then the intermediates. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly key: string;
}

/** A certificate authority for one test, with keys that nobody else has. */
export class TestAuthority {
  private readonly key: KeyObject;
  private readonly publicKey: KeyObject;
  /** PEM. */
  readonly certificate: string;

  private constructor(
    private readonly name: string,
    validity: Validity,
    /** Absent for a root. */
    private readonly parent?: TestAuthority,
    /** False for one that signs although nobody allowed it to. */
    isAuthority = true,
  ) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.key = privateKey;
    this.publicKey = createPublicKey(privateKey);
    this.certificate = writeCertificate({
      subject: name,
      issuer: parent?.name ?? name,
      subjectKey: this.publicKey,
      issuerKey: parent?.key ?? privateKey,
      issuerPublicKey: parent?.publicKey ?? this.publicKey,
      ...bounds(validity),
      authority: isAuthority,
      uris: [],
      dnsNames: [],
      ipAddresses: [],
    });
  }

  static root(name = 'settlement test authority', validity: Validity = {}): TestAuthority {
    return new TestAuthority(name, validity);
  }

  intermediate(name = 'settlement test intermediate', validity: Validity = {}): TestAuthority {
    return new TestAuthority(name, validity, this);
  }

  /** Signs as an authority does, with an ordinary workload's certificate. */
  impostor(workload: string): TestAuthority {
    return new TestAuthority(workload, {}, this, false);
  }

  issue(options: Validity & { readonly uris?: readonly string[]; readonly dnsNames?: readonly string[]; readonly ipAddresses?: readonly string[] }): IssuedPair {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const leaf = writeCertificate({
      subject: 'workload',
      issuer: this.name,
      subjectKey: createPublicKey(privateKey),
      issuerKey: this.key,
      issuerPublicKey: this.publicKey,
      ...bounds(options),
      authority: false,
      uris: options.uris ?? [],
      dnsNames: options.dnsNames ?? [],
      ipAddresses: options.ipAddresses ?? [],
    });
    return { certificate: leaf + this.chain(), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  }

  /** As the chart has cert-manager issue it: the SPIFFE id, and the names of the Service. */
  issueWorkload(workload: string, options: Validity & { readonly trustDomain?: string; readonly dnsNames?: readonly string[] } = {}): IssuedPair {
    const service = `settlement-${workload}`;
    return this.issue({
      ...options,
      uris: [`spiffe://${options.trustDomain ?? 'settlement'}/${workload}`],
      dnsNames: options.dnsNames ?? [service, `${service}.settlement`, `${service}.settlement.svc`, `${service}.settlement.svc.cluster.local`],
    });
  }

  /** Intermediates above a leaf, without the root. */
  private chain(): string {
    return this.parent === undefined ? '' : this.certificate + this.parent.chain();
  }
}

/** From an hour ago until in an hour, unless told otherwise. */
function bounds({ notBefore, notAfter }: Validity): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: notBefore ?? new Date(Date.now() - HOUR_MS), notAfter: notAfter ?? new Date(Date.now() + HOUR_MS) };
}

export interface TlsDirectoryFiles extends IssuedPair {
  /** PEM; one authority or several. */
  readonly authorities: string;
}

/**
 * A folder as the kubelet mounts a Secret: `tls.crt`, `tls.key` and `ca.crt` are links into `..data`, itself a link to a folder
 * with a new name for each version. `put` swaps `..data` by a rename, as kubernetes/pkg/volume/util/atomic_writer.go does, and
 * removes the old folder after it.
 */
export class MountedSecret {
  private versions = 0;

  constructor(readonly folder: string) {
    mkdirSync(folder, { recursive: true });
  }

  put({ certificate, key, authorities }: TlsDirectoryFiles): void {
    this.versions += 1;
    const version = `..version_${this.versions}`;
    mkdirSync(join(this.folder, version));
    writeFileSync(join(this.folder, version, 'tls.crt'), certificate);
    writeFileSync(join(this.folder, version, 'tls.key'), key, { mode: 0o600 });
    writeFileSync(join(this.folder, version, 'ca.crt'), authorities);
    const data = join(this.folder, '..data');
    const previous = existsSync(data) ? readlinkSync(data) : undefined;
    symlinkSync(version, join(this.folder, '..data_tmp'));
    renameSync(join(this.folder, '..data_tmp'), data);
    if (previous === undefined) {
      for (const name of ['tls.crt', 'tls.key', 'ca.crt']) symlinkSync(join('..data', name), join(this.folder, name));
    } else rmSync(join(this.folder, previous), { recursive: true });
  }

  /** For `tlsVariables`. */
  get environment(): { readonly TLS_CERT_FILE: string; readonly TLS_KEY_FILE: string; readonly TLS_CA_FILE: string } {
    return { TLS_CERT_FILE: join(this.folder, 'tls.crt'), TLS_KEY_FILE: join(this.folder, 'tls.key'), TLS_CA_FILE: join(this.folder, 'ca.crt') };
  }
}

import { readFileSync, realpathSync, watch, type FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import type { TlsFiles } from '@settlement/config/tls-config';
import { OperationalError } from '@settlement/kernel/errors';
import { Counter, Gauge, type Registry } from 'prom-client';
import { SILENT, type RpcLogger } from '../rpc-logger';
import { digestOf, parseKeyMaterial, type KeyMaterial, type KeyMaterialFiles } from './key-material';

/** A burst of events is one change: the kubelet makes, links, renames and removes within a few milliseconds. */
const SETTLE_MS = 50;
/** Where a file system tells of no changes (some network and overlay ones), and for a certificate that was rejected as not yet valid. */
const POLL_MS = 5_000;
/** How often a version is read again that changes under the reader's hands before the next event or poll is waited for. */
const READS_MAX = 5;

export interface CertificateSourceOptions {
  readonly files: TlsFiles;
  readonly logger?: RpcLogger;
  readonly metrics?: Registry;
  readonly pollMs?: number;
  readonly nowMs?: () => number;
}

export type ReloadResult = 'loaded' | 'rejected';

/**
 * The own certificate, key and authorities, as they stand in files now. Whoever renews them replaces the files (cert-manager
 * through the kubelet, or a person); the process goes on with the new ones, without a restart and without cutting a connection.
 *
 * A version is taken only when it would work: see `parseKeyMaterial`. Else the last good one stays, said loudly and counted.
 * What was taken stays taken when it expires; the gauge and the log tell of that.
 */
export class CertificateSource {
  private readonly listeners = new Set<(material: KeyMaterial) => void>();
  private readonly watchers: FSWatcher[] = [];
  private readonly poll: NodeJS.Timeout;
  private readonly logger: RpcLogger;
  private readonly nowMs: () => number;
  private readonly metrics: ReturnType<typeof sourceMetrics> | undefined;
  private settling: NodeJS.Timeout | undefined;
  private rejected = '';
  private saidExpired = '';
  private material: KeyMaterial;

  /** Throws `OperationalError` when the files cannot be read or would not work: a service that no peer believes does not start. */
  constructor(private readonly options: CertificateSourceOptions) {
    this.logger = options.logger ?? SILENT;
    this.nowMs = options.nowMs ?? Date.now;
    this.metrics = options.metrics === undefined ? undefined : sourceMetrics(options.metrics);
    this.material = parseKeyMaterial(readVersion(options.files), options.files.trustDomain, this.nowMs());
    this.metrics?.expiry.set(this.material.notAfterMs / 1_000);
    this.logger.info(this.facts(), 'certificate loaded');
    for (const folder of new Set([options.files.certFile, options.files.keyFile, options.files.caFile].map(dirname))) this.watchFolder(folder);
    this.poll = setInterval(() => this.look(), options.pollMs ?? POLL_MS);
    this.poll.unref();
  }

  get current(): KeyMaterial {
    return this.material;
  }

  get trustDomain(): string {
    return this.options.files.trustDomain;
  }

  /** Who this process is to its peers. Changes with the files, as everything else does. */
  get workload(): string {
    return this.material.workload;
  }

  /** Called with each new version, not with the present one. Returns how to end it. */
  subscribe(listener: (material: KeyMaterial) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  close(): void {
    clearInterval(this.poll);
    clearTimeout(this.settling);
    for (const watcher of this.watchers.splice(0)) watcher.close();
    this.listeners.clear();
  }

  /** Reads the files now; for whoever knows that they have changed. */
  look(): void {
    let files: KeyMaterialFiles;
    try {
      files = readVersion(this.options.files);
    } catch (error) {
      this.reject(error, `unreadable ${error instanceof Error ? error.message : ''}`);
      return;
    }
    const digest = digestOf(files);
    if (digest === this.material.digest) {
      this.rejected = '';
      this.sayWhenExpired();
      return;
    }
    try {
      this.take(parseKeyMaterial(files, this.trustDomain, this.nowMs()));
    } catch (error) {
      this.reject(error, digest);
    }
  }

  private take(material: KeyMaterial): void {
    const { workload } = this.material;
    if (material.workload !== workload) {
      throw new OperationalError('CERTIFICATE_IDENTITY', `the certificate is of ${material.workload}, this process is ${workload}: a change of identity takes a restart`, 'not-done');
    }
    this.material = material;
    this.rejected = '';
    this.metrics?.reloads.inc({ result: 'loaded' });
    this.metrics?.expiry.set(material.notAfterMs / 1_000);
    this.logger.info(this.facts(), 'certificate reloaded: new connections use it, open ones go on');
    for (const listener of this.listeners) listener(material);
  }

  /** Counted and told once for a version, however often it is looked at. */
  private reject(error: unknown, version: string): void {
    this.sayWhenExpired();
    if (this.rejected === version) return;
    this.rejected = version;
    this.metrics?.reloads.inc({ result: 'rejected' });
    this.logger.error({ ...this.facts(), err: error }, 'the changed certificate files are not usable; the previous certificate stays in use');
  }

  private sayWhenExpired(): void {
    const { digest, notAfterMs } = this.material;
    if (this.nowMs() < notAfterMs || this.saidExpired === digest) return;
    this.saidExpired = digest;
    this.logger.error(this.facts(), 'the certificate in use has expired and was not renewed: peers refuse new connections');
  }

  private facts(): object {
    const { workload, serialNumber, notAfterMs } = this.material;
    return { certFile: this.options.files.certFile, workload, serialNumber, notAfter: new Date(notAfterMs).toISOString() };
  }

  private watchFolder(folder: string): void {
    const watcher = watch(folder, { persistent: false }, () => {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.look(), SETTLE_MS);
      this.settling.unref();
    });
    // The folder itself may go away; the poll goes on and says so.
    watcher.on('error', (error) => this.logger.warn({ err: error, folder }, 'changes of certificate files are no longer told by the file system, only found by looking'));
    this.watchers.push(watcher);
  }
}

/** Undefined without files, which is plain text. Throws as the constructor does. */
export function openCertificates(files: TlsFiles | undefined, options: Omit<CertificateSourceOptions, 'files'> = {}): CertificateSource | undefined {
  return files === undefined ? undefined : new CertificateSource({ files, ...options });
}

/**
 * All three of one version. A Secret's files are links through `..data`, which the kubelet swaps in one step: read while that
 * happens, a certificate would come with the other version's key. So where the links lead is looked up before and after.
 */
function readVersion({ certFile, keyFile, caFile }: TlsFiles): KeyMaterialFiles {
  const paths = [certFile, keyFile, caFile];
  let last: unknown;
  for (let attempt = 1; attempt <= READS_MAX; attempt += 1) {
    try {
      const before = paths.map((path) => realpathSync(path));
      const [certificate, key, authorities] = before.map((path) => readFileSync(path));
      const after = paths.map((path) => realpathSync(path));
      if (certificate !== undefined && key !== undefined && authorities !== undefined && after.join('\n') === before.join('\n')) return { certificate, key, authorities };
    } catch (error) {
      // Removed between the look-up and the reading: the next attempt finds the new version.
      last = error;
    }
  }
  throw new OperationalError('TLS_FILES_UNREADABLE', `the files of TLS cannot be read (${paths.join(', ')}): ${last instanceof Error ? last.message : 'they kept changing'}`, 'not-done', { cause: last });
}

function sourceMetrics(registry: Registry) {
  const reloads = new Counter<'result'>({
    name: 'settlement_tls_reloads_total',
    help: 'Changed certificate files, by what became of them: loaded, or rejected because they would not work.',
    labelNames: ['result'],
    registers: [registry],
  });
  for (const result of ['loaded', 'rejected'] satisfies ReloadResult[]) reloads.inc({ result }, 0);
  const expiry = new Gauge({
    name: 'settlement_tls_certificate_expiry_seconds',
    help: 'When the certificate in use ends, as Unix time.',
    registers: [registry],
  });
  return { reloads, expiry };
}

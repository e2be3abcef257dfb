import { tlsFilesOf, type TlsConfig } from '@settlement/config/tls-config';
import { OperationalError } from '@settlement/kernel/errors';
import type { Logger } from '@settlement/observability/logger';
import { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import type { Registry } from 'prom-client';

/**
 * What the service shows to its peers; undefined without files, which is plain text. Throws `OperationalError` when the files
 * would not work, or are another workload's: every peer would refuse such a service, and it would look alive.
 */
export function ownCertificates(config: TlsConfig, service: string, logger: Logger, metrics: Registry): CertificateSource | undefined {
  const files = tlsFilesOf(config);
  if (files === undefined) return undefined;
  const certificates = new CertificateSource({ files, logger, metrics });
  if (certificates.workload === service) return certificates;
  certificates.close();
  throw new OperationalError('CERTIFICATE_IDENTITY', `${files.certFile} is the certificate of ${certificates.workload}, not of ${service}`, 'not-done');
}

import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { experimental, type ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';
import { isLoopback } from '@settlement/config/tls-config';
import type { CertificateSource } from './certificate-source';
import { identityOf } from './workload-identity';

export interface PeerTls {
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
}

/**
 * Credentials that take the source's present certificate and authorities for every new connection, and believe a server only
 * when a believed authority names it `workload` in its URI *and* the host in its DNS names: the first is who may answer for this
 * contract, the second that it is the one that was dialled.
 *
 * `address` as `host:port`. A loopback address is nobody's name: through `kubectl port-forward`, or inside the pod, the server
 * must show the name of the workload's Service instead.
 */
export function peerTls(source: CertificateSource, workload: string, address: string): PeerTls {
  const identityListeners = new Map<unknown, () => void>();
  const authorityListeners = new Map<unknown, () => void>();
  const provider: experimental.CertificateProvider = {
    addIdentityCertificateListener(listener) {
      const tell = (): void => {
        const { certificate, key } = source.current;
        listener({ certificate, privateKey: key });
      };
      identityListeners.set(listener, source.subscribe(tell));
      // grpc-js registers while it constructs, and is not ready to hear before that has ended.
      process.nextTick(tell);
    },
    removeIdentityCertificateListener(listener) {
      identityListeners.get(listener)?.();
      identityListeners.delete(listener);
    },
    addCaCertificateListener(listener) {
      const tell = (): void => {
        listener({ caCertificate: source.current.authorities });
      };
      authorityListeners.set(listener, source.subscribe(tell));
      process.nextTick(tell);
    },
    removeCaCertificateListener(listener) {
      authorityListeners.get(listener)?.();
      authorityListeners.delete(listener);
    },
  };
  const checkPeer = (host: string, certificate: PeerCertificate): Error | undefined => {
    const wrongHost = checkServerIdentity(host, certificate);
    if (wrongHost !== undefined) return wrongHost;
    const identified = identityOf(certificate.subjectaltname, source.trustDomain);
    if (!identified.ok) return new Error(`the server is not ${workload}: ${identified.why}`);
    return identified.workload === workload ? undefined : new Error(`the server is ${identified.workload}, not ${workload}`);
  };
  const host = address.slice(0, address.lastIndexOf(':'));
  return {
    credentials: experimental.createCertificateProviderChannelCredentials(provider, provider, { checkServerIdentity: checkPeer }),
    options: isLoopback(host) ? { 'grpc.ssl_target_name_override': `settlement-${workload}` } : {},
  };
}

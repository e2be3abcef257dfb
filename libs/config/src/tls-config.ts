import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';
import { z } from 'zod';
import { allOrNone, flagVariable, parseEnvironment, type Environment } from './environment';

/** What a workload shows to its peers and whom it believes. Paths, not contents: the files change while the process runs. */
export interface TlsFiles {
  /** PEM: the own certificate, then the intermediates up to the authority. */
  readonly certFile: string;
  /** PEM: the certificate's private key. */
  readonly keyFile: string;
  /** PEM: every authority that a peer's certificate may come from; two of them while an authority is replaced. */
  readonly caFile: string;
  /** Of the SPIFFE ids `spiffe://<trust domain>/<service>`. */
  readonly trustDomain: string;
}

/** Spread into a service's or a command's schema. The three files are given together or not at all. */
export const tlsVariables = {
  TLS_CERT_FILE: z.string().optional().register(allOrNone, { group: 'tls' }),
  TLS_KEY_FILE: z.string().optional().register(allOrNone, { group: 'tls' }),
  TLS_CA_FILE: z.string().optional().register(allOrNone, { group: 'tls' }),
  /** As SPIFFE spells it: lower case, no port. */
  TLS_TRUST_DOMAIN: z.string().regex(/^[a-z0-9._-]{1,255}$/, 'expected a SPIFFE trust domain such as settlement').default('settlement'),
} as const;

export type TlsConfig = z.output<z.ZodObject<typeof tlsVariables>>;

/** Undefined when no files are configured: plain text. */
export function tlsFilesOf(config: TlsConfig): TlsFiles | undefined {
  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, TLS_CA_FILE: caFile, TLS_TRUST_DOMAIN: trustDomain } = config;
  if (certFile === undefined || keyFile === undefined || caFile === undefined) return undefined;
  return { certFile, keyFile, caFile, trustDomain };
}

/** For commands, which have no configuration beside it. Throws `InvalidInput`. */
export function parseTlsFiles(environment: Environment): TlsFiles | undefined {
  return tlsFilesOf(parseEnvironment(z.object(tlsVariables), environment));
}

/** Whether gRPC may be served without TLS where others can reach it: said aloud, or not at all. */
export const plaintextVariable = flagVariable.default(false);

/**
 * Whoever reaches a plain-text port may have intents signed and screening decided, so such a port stays on this machine unless
 * somebody says otherwise. Throws `InvalidInput`.
 */
export function refuseOpenPlaintext(config: TlsConfig & { readonly GRPC_HOST: string; readonly ALLOW_PLAINTEXT: boolean }): void {
  if (tlsFilesOf(config) !== undefined || config.ALLOW_PLAINTEXT || isLoopback(config.GRPC_HOST)) return;
  const issue: InputIssue = {
    path: 'GRPC_HOST',
    message: `${config.GRPC_HOST} is reachable from outside and TLS_CERT_FILE, TLS_KEY_FILE and TLS_CA_FILE are not set: anybody there could call this service. Set them, or ALLOW_PLAINTEXT=true where something else protects the port`,
  };
  throw new InvalidInput([issue]);
}

/** Of 127.0.0.0/8 (RFC 1122, 3.2.1.3), ::1 and localhost (RFC 6761, 6.3). An empty host would be all interfaces. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  return bare === 'localhost' || bare === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(bare);
}

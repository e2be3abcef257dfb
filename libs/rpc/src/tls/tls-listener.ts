import { constants } from 'node:crypto';
import { constants as http2, performServerHandshake } from 'node:http2';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { OperationalError } from '@settlement/kernel/errors';
import type { CertificateSource } from './certificate-source';
import type { KeyMaterial } from './key-material';
import { identityOf } from './workload-identity';

/** A peer that begins a handshake and does not end it holds a socket, nothing else. */
const HANDSHAKE_MS = 5_000;
/** A refused peer gets this long to send its call and to hear why it is refused. */
const REFUSAL_MS = 3_000;

export interface RefusedConnection {
  /** SCREAMING_SNAKE: OpenSSL's and Node's verification codes, or an `IdentityFault`. */
  readonly code: string;
  readonly why: string;
  readonly remoteAddress: string;
}

export interface TlsListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly certificates: CertificateSource;
  /** Gets connections whose peer has proved to be somebody of the trust domain. */
  readonly accept: (socket: TLSSocket) => void;
  readonly onRefused: (refused: RefusedConnection) => void;
}

export interface TlsListener {
  readonly port: number;
  /** New connections are refused; those handed over go on. */
  close(): void;
}

/**
 * Accepts mutual TLS, 1.3 and above. The handshake itself is let through without a valid client certificate so that the peer
 * can be told in its own protocol what is wrong, but such a connection never reaches the server behind `accept`: it ends in
 * `refuse`, which reads no message and answers UNAUTHENTICATED.
 */
export async function listenTls(options: TlsListenerOptions): Promise<TlsListener> {
  const { certificates } = options;
  const server = createServer({ ...contextOf(certificates.current), requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['h2'], handshakeTimeout: HANDSHAKE_MS });
  const unsubscribe = certificates.subscribe((material) => {
    // Of later handshakes; connections keep the context that they were made with.
    server.setSecureContext(contextOf(material));
  });
  server.on('secureConnection', (socket) => {
    // Cut by the peer: whoever reads the socket hears it as its end.
    socket.on('error', () => undefined);
    const refused = judge(socket, certificates.trustDomain);
    if (refused === undefined) {
      options.accept(socket);
      return;
    }
    options.onRefused(refused);
    refuse(socket, refused);
  });
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    options.onRefused({ code: error.code ?? 'TLS_HANDSHAKE_FAILED', why: `the handshake failed: ${error.message}`, remoteAddress: socket.remoteAddress ?? 'unknown' });
  });
  const port = await listen(server, options.host, options.port);
  return {
    port,
    close() {
      unsubscribe();
      server.close();
    },
  };
}

function contextOf({ certificate, key, authorities }: KeyMaterial): SecureContextOptions {
  return {
    cert: certificate,
    key,
    ca: authorities,
    minVersion: 'TLSv1.3',
    // A resumed session is not verified again: a ticket would outlive the authority or the certificate that it stands for.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

function judge(socket: TLSSocket, trustDomain: string): RefusedConnection | undefined {
  const remoteAddress = socket.remoteAddress ?? 'unknown';
  const certificate = socket.getPeerCertificate();
  // Node answers an empty object where the peer has shown none.
  if (Object.keys(certificate).length === 0) return { code: 'NO_CERTIFICATE', why: 'no client certificate was shown', remoteAddress };
  if (!socket.authorized) {
    const code = String(socket.authorizationError);
    return { code, why: EXPLAINED[code] ?? `the client certificate was not accepted (${code})`, remoteAddress };
  }
  const identified = identityOf(certificate.subjectaltname, trustDomain);
  return identified.ok ? undefined : { code: identified.code, why: identified.why, remoteAddress };
}

/** Codes of OpenSSL's X509_verify_cert as Node names them. */
const EXPLAINED: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'the client certificate has expired',
  CERT_NOT_YET_VALID: 'the client certificate is not yet valid',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the client certificate is of an authority that is not believed here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the client certificate is of an authority that is not believed here',
  SELF_SIGNED_CERT_IN_CHAIN: 'the client certificate is of an authority that is not believed here',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the client certificate is signed by itself',
};

/** Answers each call with UNAUTHENTICATED and the reason, reads none of its messages, and ends the connection. */
function refuse(socket: TLSSocket, { code, why }: RefusedConnection): void {
  if (socket.alpnProtocol !== 'h2') {
    socket.destroy();
    return;
  }
  const session = performServerHandshake(socket, { maxSessionMemory: 1, settings: { maxConcurrentStreams: 100 } });
  const timer = setTimeout(() => session.destroy(), REFUSAL_MS);
  timer.unref();
  session.on('error', () => session.destroy());
  session.on('close', () => clearTimeout(timer));
  session.on('stream', (stream) => {
    stream.on('error', () => stream.destroy());
    stream.respond(
      {
        [http2.HTTP2_HEADER_STATUS]: http2.HTTP_STATUS_OK,
        [http2.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
        'grpc-status': String(status.UNAUTHENTICATED),
        'grpc-message': encodeURIComponent(why),
        // See CODE_KEY and OUTCOME_KEY of rpc-error.ts.
        'settlement-code': code,
        'settlement-outcome': 'not-done',
      },
      { endStream: true },
    );
    // Ends when its streams have.
    session.close();
  });
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      reject(new OperationalError('GRPC_LISTEN_FAILED', `cannot listen on ${host}:${port}: ${error.message}`, 'not-done', { cause: error }));
    };
    server.once('error', failed);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', failed);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

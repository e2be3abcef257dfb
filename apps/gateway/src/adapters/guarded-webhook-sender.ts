import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import type { WebhookMessage, WebhookReceipt, WebhookSender } from '../ports/webhook-sender';
import { bareHost, isPublicAddress, parseWebhookUrl } from '../webhook/webhook-target.policy';

export interface GuardedWebhookSenderOptions {
  readonly allowPrivate: boolean;
  /** From the first packet to the end of the answer. */
  readonly timeoutMs: number;
  /** As `dns.lookup` with `all`; a test gives its own. */
  readonly resolve?: (host: string, options: LookupOptions, done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void) => void;
}

/** The answer's body is of no interest; this much is read so that well-behaved servers can finish writing. */
const ANSWER_BYTES_MAX = 16_384;

class TargetRefused extends Error {
  readonly code = 'TARGET_REFUSED';
}

/**
 * Posts to hosts that merchants name, which makes it the one place where outsiders steer our connections. The address is
 * checked in the very look-up that the connection uses, so a name that changes between check and use gains nothing. Redirects
 * are answers like any other and are not followed; no proxy, no cookie, no shared connection.
 */
export class GuardedWebhookSender implements WebhookSender {
  constructor(private readonly options: GuardedWebhookSenderOptions) {}

  send({ url: text, headers, body }: WebhookMessage): Promise<WebhookReceipt> {
    const url = parseWebhookUrl(text, this.options.allowPrivate);
    if (!url.ok) return Promise.resolve({ httpStatus: 0, error: 'TARGET_REFUSED' });
    const host = bareHost(url.value);
    // A literal address never reaches the look-up.
    if (isIP(host) !== 0 && !this.allowed(host)) return Promise.resolve({ httpStatus: 0, error: 'TARGET_REFUSED' });
    return this.post(url.value, host, headers, body);
  }

  private post(url: URL, host: string, headers: Readonly<Record<string, string>>, body: string): Promise<WebhookReceipt> {
    const secure = url.protocol === 'https:';
    const options: RequestOptions = {
      method: 'POST',
      host,
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      headers: { ...headers, host: url.host, 'content-length': String(Buffer.byteLength(body)), connection: 'close' },
      agent: false,
      maxHeaderSize: ANSWER_BYTES_MAX,
      lookup: (name, lookupOptions, done) => {
        this.lookup(name, lookupOptions, done);
      },
      ...(secure && isIP(host) === 0 ? { servername: host } : {}),
    };
    return new Promise<WebhookReceipt>((resolve) => {
      const request = (secure ? httpsRequest : httpRequest)(options, (response) => {
        const httpStatus = response.statusCode ?? 0;
        let read = 0;
        const done = (): void => {
          clearTimeout(timer);
          response.destroy();
          resolve({ httpStatus, error: '' });
        };
        response.on('data', (chunk: Buffer) => {
          read += chunk.length;
          if (read > ANSWER_BYTES_MAX) done();
        });
        response.on('end', done);
        // The status line is the answer; a body that breaks off changes nothing about it.
        response.on('error', done);
      });
      const timer = setTimeout(() => request.destroy(Object.assign(new Error('too slow'), { code: 'TIMEOUT' })), this.options.timeoutMs);
      request.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        resolve({ httpStatus: 0, error: reasonOf(error) });
      });
      request.end(body);
    });
  }

  private allowed(ip: string): boolean {
    return this.options.allowPrivate || isPublicAddress(ip);
  }

  private lookup(host: string, options: LookupOptions, done: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void): void {
    const resolve = this.options.resolve ?? ((name, given, answered) => dnsLookup(name, { ...given, all: true }, answered));
    resolve(host, options, (error, addresses) => {
      if (error !== null) {
        done(error, []);
        return;
      }
      // One private address among public ones is no accident either.
      const [first] = addresses;
      if (first === undefined || !addresses.every(({ address }) => this.allowed(address))) {
        done(new TargetRefused('resolves to an address that is not public'), []);
        return;
      }
      if (options.all === true) done(null, addresses);
      else done(null, first.address, first.family);
    });
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  const code = error.code ?? '';
  return /^[A-Z][A-Z0-9_]{2,40}$/.test(code) ? code : 'CONNECTION_FAILED';
}

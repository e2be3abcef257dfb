import type { Server } from 'node:http';
import type { Clock } from '@settlement/kernel/time';
import type { FastifyInstance } from 'fastify';

/**
 * How long an answer allows its caller to leave the connection unused (`Keep-Alive: timeout=…`). Clients that obey forget idle
 * connections soon, and a server that lingers longer than this never closes one that a request is on its way to. The server
 * itself is far more patient, since balancers that do not read the hint must not meet a closed connection either.
 */
export const KEEP_ALIVE_HINT_SECONDS = 5;

export interface HttpCallersOptions {
  readonly draining: () => boolean;
  /** How long connections may stay open once the process drains; they are closed afterwards, used or not. */
  readonly lingerMs: number;
  readonly clock: Clock;
}

/**
 * Sees callers of HTTP servers off. While the process drains, each answer tells its caller that the connection ends with it
 * (RFC 9112, 9.6), so that the next request goes elsewhere; a connection that nobody uses is left to its caller's own time-out.
 * Closing connections that are kept alive would meet requests that are on their way, and a POST is not repeated by itself.
 */
export class HttpCallers {
  private readonly servers = new Set<Server>();

  constructor(private readonly options: HttpCallersOptions) {}

  /** Before the server has begun to listen: it takes no hooks afterwards. */
  watch(app: Pick<FastifyInstance, 'addHook' | 'server'>): void {
    this.servers.add(app.server);
    app.addHook('onSend', (_request, reply, payload, done) => {
      if (this.options.draining()) void reply.header('connection', 'close');
      else void reply.header('keep-alive', `timeout=${KEEP_ALIVE_HINT_SECONDS}`);
      done(null, payload);
    });
  }

  /** Resolves once nobody is connected any more, and at the latest when `lingerMs` are over. */
  async left(): Promise<void> {
    const { clock, lingerMs } = this.options;
    const untilMs = clock.monotonicMs() + lingerMs;
    const connected = async (): Promise<boolean> => (await Promise.all([...this.servers].map(connectionsOf))).some((count) => count > 0);
    while (clock.monotonicMs() < untilMs && (await connected())) await clock.sleep(25);
  }
}

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    if (!server.listening) resolve(0);
    else server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

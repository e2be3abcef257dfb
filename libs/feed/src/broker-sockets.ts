import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ISocketFactory, RequestTimeoutEvent } from 'kafkajs';

/** Idle connections are probed after so long, and closed some 10 s later when nothing answers. */
const PROBE_AFTER_MS = 10_000;

/**
 * The connections of one Kafka client, closed when they are found dead.
 *
 * A broker whose machine lost its power, or whose pod came back under another address, closes nothing. The library gives up the
 * request, keeps the connection and asks again on it: nothing gets through until the kernel gives up, after a quarter of an
 * hour, and until then the relay stands still although every other broker is well. So a request that timed out takes with it
 * all connections to its broker that have not been heard since it was sent; the next try finds out who leads now. A broker
 * that lives and was only slow is connected to again, and what was sent twice is harmless (positions).
 */
export class BrokerSockets {
  private readonly open = new Map<Socket, { readonly broker: string; heardAtMs: number }>();

  constructor(private readonly nowMs: () => number) {}

  /** For the library's `socketFactory`. Names are checked against certificates as the library does by itself. */
  readonly factory: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    // Typed as if it were always there; it is null without TLS.
    const tls = (ssl as object | null | undefined) ?? undefined;
    const socket = tls === undefined ? connect({ host, port }, onConnect) : connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }), ...tls }, onConnect);
    socket.setKeepAlive(true, PROBE_AFTER_MS);
    const known = { broker: `${host}:${port}`, heardAtMs: this.nowMs() };
    this.open.set(socket, known);
    socket.on('data', () => {
      known.heardAtMs = this.nowMs();
    });
    socket.once('close', () => this.open.delete(socket));
    return socket;
  };

  /** A request to that broker was not answered in time. */
  unanswered({ broker, sentAt }: Pick<RequestTimeoutEvent['payload'], 'broker' | 'sentAt'>): void {
    for (const [socket, known] of this.open) {
      // The library's own handling of a broken connection does the rest: requests rejected, leaders asked for anew.
      if (known.broker === broker && known.heardAtMs < sentAt) socket.destroy(new Error(`${broker} has answered nothing since a request that timed out`));
    }
  }
}

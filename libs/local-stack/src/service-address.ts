import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

/** Postgres' ReadyForQuery, outside of a transaction (protocol 3.0, message formats): the first one ends the start of a connection. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/**
 * An address in front of a server, as a Service is in a cluster: it leads new connections to whatever listens at the port behind
 * it. Connections to a machine that lost its power are not closed by anybody, they just fall silent.
 */
export class ServiceAddress {
  private doomed: string | undefined;

  private constructor(
    private readonly server: Server,
    private readonly silences: Set<() => void>,
  ) {}

  /** On a free port of its own. */
  static async inFrontOf(target: number): Promise<ServiceAddress> {
    const silences = new Set<() => void>();
    const server = createServer((incoming) => {
      const outgoing: Socket = connect(target, HOST);
      let silent = false;
      let doomed = false;
      incoming.on('data', (bytes) => {
        if (silent) return;
        if (address.doomed !== undefined && bytes.includes(address.doomed)) {
          doomed = true;
          address.doomed = undefined;
        }
        outgoing.write(bytes);
      });
      outgoing.on('data', (bytes) => {
        if (silent) return;
        const readyAt = doomed ? bytes.indexOf(READY) : -1;
        silent = readyAt !== -1;
        incoming.write(silent ? bytes.subarray(0, readyAt + READY.length) : bytes);
      });
      // Whatever happens behind, the client hears nothing of it once the power is gone.
      outgoing.on('close', () => {
        if (!silent) incoming.destroy();
      });
      incoming.on('close', () => outgoing.destroy());
      incoming.on('error', () => outgoing.destroy());
      outgoing.on('error', () => undefined);
      const silence = (): void => {
        silent = true;
      };
      silences.add(silence);
      incoming.on('close', () => silences.delete(silence));
    });
    const address = new ServiceAddress(server, silences);
    await new Promise<void>((done) => server.listen(0, HOST, done));
    return address;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The next connection in clear text to Postgres that names itself so loses its server at its start: it is let in, and hears nothing more. */
  loseOnceReady(applicationName: string): void {
    this.doomed = applicationName;
  }

  /** Whether a connection has met that fate since. */
  get hasLost(): boolean {
    return this.doomed === undefined;
  }

  /** How many connections were open and are silent from now on. */
  powerLoss(): number {
    const { size } = this.silences;
    for (const silence of this.silences) silence();
    return size;
  }

  close(): void {
    this.server.close();
  }
}

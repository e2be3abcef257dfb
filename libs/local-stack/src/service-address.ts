import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

/**
 * An address in front of a server, as a Service is in a cluster: it leads new connections to whatever listens at the port behind
 * it. Connections to a machine that lost its power are not closed by anybody, they just fall silent.
 */
export class ServiceAddress {
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
      incoming.on('data', (bytes) => {
        if (!silent) outgoing.write(bytes);
      });
      outgoing.on('data', (bytes) => {
        if (!silent) incoming.write(bytes);
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
    await new Promise<void>((done) => server.listen(0, HOST, done));
    return new ServiceAddress(server, silences);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
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

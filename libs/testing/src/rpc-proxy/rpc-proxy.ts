import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Exchange } from './exchange';
import { faultAt, type FaultPlan } from './fault-plan';
import type { Fault } from './faults';

/** Proof that a fault happened: which request met it. */
export interface FaultRecord {
  readonly request: number;
  readonly fault: string;
  readonly methods: string;
}

export interface RpcProxy {
  readonly url: string;
  /** Every fault that was applied, in order. */
  readonly journal: readonly FaultRecord[];
  /** Requests seen so far. */
  readonly requests: number;
  /** The plan, until `set` puts one fault in its place for good, or none. */
  set(fault: Fault | undefined): void;
  stop(): Promise<void>;
}

/** Stands in front of a node and misbehaves by plan. Only on the loopback address. */
export async function startRpcProxy(target: string, plan: FaultPlan = []): Promise<RpcProxy> {
  const journal: FaultRecord[] = [];
  let requests = 0;
  let fixed: Fault | undefined;
  let isFixed = false;

  async function handle(body: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const request = requests;
    requests += 1;
    const exchange = new Exchange(body, target, incoming, outgoing);
    const fault = isFixed ? fixed : faultAt(plan, request);
    if (fault?.concerns(exchange.items) === true) {
      journal.push({ request, fault: fault.name, methods: exchange.methods });
      await fault.handle(exchange);
    } else {
      exchange.answer(await exchange.forward());
    }
  }

  const server = createServer((incoming, outgoing) => {
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () => {
      handle(Buffer.concat(parts).toString(), incoming, outgoing).catch(() => {
        // The node itself is gone: what a proxy says then. The test sees it by what it asked.
        if (!outgoing.headersSent) outgoing.writeHead(502).end('upstream');
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    journal,
    get requests() {
      return requests;
    },
    set(fault) {
      [fixed, isFixed] = [fault, true];
    },
    async stop() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { HealthRegistry } from './health';

export interface OpsServer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * `/health/live` answers while the event loop turns, and asks nothing else: a restart cures a blocked loop and no dependency.
 * `/health/startup` is 200 once the program is up, also while it waits for a database, since killing it would not help that
 * either. `/health/ready` is 200 or 503 with every check and its reason; `/metrics` is Prometheus text.
 */
export async function startOpsServer(options: {
  readonly host: string;
  readonly port: number;
  readonly health: HealthRegistry;
  readonly metrics: Registry;
}): Promise<OpsServer> {
  const server: Server = createServer((request, response) => {
    void answer(request.url ?? '/').then(
      ({ status, type, body }) => response.writeHead(status, { 'content-type': type }).end(body),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error)),
    );
  });

  async function answer(url: string): Promise<{ status: number; type: string; body: string }> {
    switch (url.split('?')[0]) {
      case '/health/live':
        return { status: 200, type: 'application/json', body: '{"live":true}' };
      case '/health/startup': {
        const start = options.health.startState;
        return { status: start.state === 'starting' ? 503 : 200, type: 'application/json', body: JSON.stringify(start) };
      }
      case '/health/ready': {
        const report = await options.health.report();
        return { status: report.ready ? 200 : 503, type: 'application/json', body: JSON.stringify(report) };
      }
      case '/metrics':
        return { status: 200, type: options.metrics.contentType, body: await options.metrics.metrics() };
      default:
        return { status: 404, type: 'text/plain', body: 'try /health/startup, /health/ready, /health/live or /metrics\n' };
    }
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

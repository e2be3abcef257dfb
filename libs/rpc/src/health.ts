import type { ServerUnaryCall, ServerWritableStream, sendUnaryData, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { service } from 'grpc-health-check';

type Serving = 'SERVING' | 'NOT_SERVING';
interface HealthRequest {
  readonly service: string;
}
interface HealthResponse {
  readonly status: Serving | 'SERVICE_UNKNOWN';
}
type Watcher = ServerWritableStream<HealthRequest, HealthResponse>;

/**
 * grpc.health.v1 over the definition of grpc-health-check. Its own implementation keeps every watch open for ever, so that a
 * graceful shutdown would always run into its time limit; this one ends them.
 */
export class Health {
  readonly definition: ServiceDefinition = service;
  readonly #statuses = new Map<string, Serving>();
  readonly #watchers = new Map<Watcher, string>();

  /** The empty name stands for the whole server. */
  set(name: string, serving: boolean): void {
    const next: Serving = serving ? 'SERVING' : 'NOT_SERVING';
    if (this.#statuses.get(name) === next) return;
    this.#statuses.set(name, next);
    for (const [watcher, watched] of this.#watchers) {
      if (watched === name) watcher.write({ status: next });
    }
  }

  /** Everything not serving, every watch told and ended. */
  close(): void {
    for (const name of this.#statuses.keys()) this.set(name, false);
    for (const watcher of this.#watchers.keys()) watcher.end();
    this.#watchers.clear();
  }

  readonly implementation: UntypedServiceImplementation = {
    check: (call: ServerUnaryCall<HealthRequest, HealthResponse>, callback: sendUnaryData<HealthResponse>): void => {
      const known = this.#statuses.get(call.request.service);
      if (known === undefined) callback({ code: status.NOT_FOUND, details: `no service ${call.request.service} here` });
      else callback(null, { status: known });
    },
    watch: (call: Watcher): void => {
      this.#watchers.set(call, call.request.service);
      call.on('cancelled', () => this.#watchers.delete(call));
      call.write({ status: this.#statuses.get(call.request.service) ?? 'SERVICE_UNKNOWN' });
    },
    list: (_call: unknown, callback: sendUnaryData<{ readonly statuses: Record<string, HealthResponse> }>): void => {
      callback(null, { statuses: Object.fromEntries([...this.#statuses].map(([name, known]) => [name, { status: known }])) });
    },
  };
}

import { ResponderBuilder, ServerInterceptingCall, ServerListenerBuilder, status, type ServerInterceptor } from '@grpc/grpc-js';
import { Counter, type Registry } from 'prom-client';
import { callersOf, mayCall } from '../callers';
import { RpcRefused, statusOfError } from '../rpc-error';
import type { RpcLogger } from '../rpc-logger';
import { LogLimit } from './log-limit';
import type { RefusedConnection } from './tls-listener';
import { identityOf } from './workload-identity';

/** One line per peer and method in this time; a refused peer repeats itself. */
const LOG_INTERVAL_MS = 10_000;

export interface CallerCheckOptions {
  readonly trustDomain: string;
  readonly logger: RpcLogger;
  readonly metrics?: Registry;
}

/** Who may come in and who may call what, with what is counted and said about those who may not. */
export class CallerCheck {
  private readonly limit = new LogLimit(LOG_INTERVAL_MS);
  private readonly metrics: ReturnType<typeof refusalMetrics> | undefined;

  constructor(private readonly options: CallerCheckOptions) {
    this.metrics = options.metrics === undefined ? undefined : refusalMetrics(options.metrics);
  }

  connectionRefused(refused: RefusedConnection): void {
    this.metrics?.connections.inc({ reason: refused.code });
    const suppressed = this.limit.admit(`${refused.remoteAddress} ${refused.code}`);
    if (suppressed !== undefined) this.options.logger.warn({ ...refused, suppressed }, 'a peer was refused: it has no valid certificate');
  }

  /** In front of every handler of the server, health and reflection included. */
  readonly interceptor: ServerInterceptor = (method, call) =>
    new ServerInterceptingCall(
      call,
      new ResponderBuilder()
        .withStart((next) => {
          next(
            new ServerListenerBuilder()
              .withOnReceiveMetadata((metadata, pass) => {
                const refusal = this.refusalOf(method.path, call.getAuthContext().sslPeerCertificate?.subjectaltname);
                if (refusal === undefined) pass(metadata);
                else call.sendStatus(statusOfError(refusal));
              })
              .build(),
          );
        })
        .build(),
    );

  private refusalOf(path: string, subjectAltName: string | undefined): RpcRefused | undefined {
    const identified = identityOf(subjectAltName, this.options.trustDomain);
    // The listener lets nobody through that this would refuse; should it, the call ends here.
    if (!identified.ok) return this.refused(path, 'unknown', new RpcRefused(identified.code, identified.why, status.UNAUTHENTICATED));
    const { workload } = identified;
    if (mayCall(workload, path)) return undefined;
    return this.refused(path, workload, new RpcRefused('CALLER_NOT_ALLOWED', `${workload} may not call ${path}`, status.PERMISSION_DENIED));
  }

  private refused(path: string, workload: string, refusal: RpcRefused): RpcRefused {
    this.metrics?.calls.inc({ method: path, reason: refusal.code });
    const suppressed = this.limit.admit(`${workload} ${path}`);
    if (suppressed !== undefined) this.options.logger.warn({ method: path, caller: workload, allowed: callersOf(path), code: refusal.code, suppressed }, 'a call was refused: its caller is not listed for the method');
    return refusal;
  }
}

function refusalMetrics(registry: Registry) {
  return {
    connections: new Counter<'reason'>({
      name: 'settlement_tls_refused_connections_total',
      help: 'Connections whose peer showed no valid certificate of the trust domain, by reason.',
      labelNames: ['reason'],
      registers: [registry],
    }),
    calls: new Counter<'method' | 'reason'>({
      name: 'settlement_grpc_refused_calls_total',
      help: 'Calls whose caller is not listed for the method.',
      labelNames: ['method', 'reason'],
      registers: [registry],
    }),
  };
}

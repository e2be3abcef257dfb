import { performance } from 'node:perf_hooks';
import { Client, connectivityState, credentials } from '@grpc/grpc-js';
import type { RpcLogger } from './rpc-logger';
import type { PeerTls } from './tls/channel-credentials';

/**
 * A connection that is not made by then is given up and made anew. grpc-js waits as long as TCP does, two minutes here, when a
 * node has lost its power: its address takes the packets of a new connection and answers none. A new one goes through the
 * balancer of the Service again, and so to another pod. Two retransmissions of a SYN (after 1 and 3 s) still have their chance.
 */
const CONNECT_MS = 4_000;
/** A peer that is silent is noticed after both of these, 8 s: no answer to a ping is the end of the connection. */
const PING_EVERY_MS = 5_000;
const PING_ANSWER_MS = 3_000;
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

const OPTIONS = {
  // Never on by a policy; on for what never reached a handler (a stream that was refused by GOAWAY), which grpc-js repeats
  // by itself, once. What may be repeated beyond that is decided by `idempotent`.
  'grpc.enable_retries': 1,
  'grpc.service_config_disable_resolution': 1,
  // Of a headless Service's several addresses a client takes any, and another when the connection's age is over. Not round robin:
  // that connects again by itself, and is in its back-off when the first call after a restart comes, which then fails at once.
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] }),
  // Peers are in the same network: a proxy that the environment names for the world outside must not get between.
  'grpc.enable_http_proxy': 0,
  'grpc.keepalive_time_ms': PING_EVERY_MS,
  'grpc.keepalive_timeout_ms': PING_ANSWER_MS,
  'grpc.keepalive_permit_without_calls': 1,
  // A service restarts within a second or two; the default back-off of up to two minutes would outlive it.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // Asked again when a connection ends; 30 s by default, in which a rollout has replaced every pod.
  'grpc.dns_min_time_between_resolutions_ms': 2_000,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  // Pooled subchannels would share a back-off that another client of the same address has run up.
  'grpc.use_local_subchannel_pool': 1,
} as const;

/** The connection of one client: grpc-js's channel, replaced when it hangs while connecting. */
export class GrpcChannel {
  private client: Client;
  private watchdog: NodeJS.Timeout | undefined;
  private connectingSinceMs: number | undefined;
  private closed = false;

  constructor(
    private readonly address: string,
    private readonly logger: RpcLogger,
    private readonly tls?: PeerTls,
  ) {
    this.client = this.open();
  }

  /** For one call, now. Not to be kept: a later call may need another. */
  use(): Client {
    if (this.isConnecting()) this.replaceWhenStuck();
    else this.connectingSinceMs = undefined;
    // This call may be the one that begins to connect, and it may be the only one that waits.
    if (this.watchdog === undefined && !this.closed && this.state() !== connectivityState.READY) {
      this.watchdog = setTimeout(() => {
        this.watchdog = undefined;
        if (this.isConnecting()) this.replace();
      }, CONNECT_MS);
      this.watchdog.unref();
    }
    return this.client;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.watchdog);
    this.client.close();
  }

  private replaceWhenStuck(): void {
    const nowMs = performance.now();
    this.connectingSinceMs ??= nowMs;
    if (nowMs - this.connectingSinceMs > CONNECT_MS) this.replace();
  }

  private replace(): void {
    if (this.closed) return;
    this.logger.warn({ peer: this.address, afterMs: CONNECT_MS }, 'a gRPC connection is not made, it is tried anew');
    this.connectingSinceMs = undefined;
    const stuck = this.client;
    this.client = this.open();
    // Ends the calls that waited for it, as not done; calls on an earlier connection go on.
    stuck.close();
  }

  private isConnecting(): boolean {
    return this.state() === connectivityState.CONNECTING;
  }

  private state(): connectivityState {
    return this.client.getChannel().getConnectivityState(false);
  }

  private open(): Client {
    return new Client(this.address, this.tls?.credentials ?? credentials.createInsecure(), { ...OPTIONS, ...this.tls?.options });
  }
}

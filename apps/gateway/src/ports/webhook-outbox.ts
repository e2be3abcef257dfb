export interface ClaimedDelivery {
  readonly deliveryId: string;
  readonly endpointId: string;
  readonly messageId: string;
  readonly body: string;
  /** This attempt's number, from 1, over all replays. */
  readonly attempt: number;
  /** From 1 within the current run through the schedule. */
  readonly tries: number;
  readonly traceparent: string;
  readonly url: string;
  /** Newest first; two during a rotation's overlap. */
  readonly sealedSecrets: readonly string[];
}

export interface DeliveryOutcome {
  readonly deliveryId: string;
  readonly endpointId: string;
  readonly attempt: number;
  readonly atNs: bigint;
  readonly durationMs: number;
  readonly httpStatus: number;
  readonly error: string;
  readonly status: 'pending' | 'succeeded' | 'exhausted';
  readonly nextAttemptAtNs: bigint;
  readonly disableEndpoint: boolean;
}

/** Messages that wait to be sent. */
export interface WebhookOutbox {
  /** Takes due deliveries until the lease ends; whoever took them records an outcome before that, or they are due again. */
  claim(query: {
    readonly nowNs: bigint;
    readonly leaseUntilNs: bigint;
    readonly limit: number;
    readonly perEndpointMax: number;
    readonly busyEndpoints: readonly string[];
  }): Promise<readonly ClaimedDelivery[]>;
  record(outcome: DeliveryOutcome): Promise<void>;
  due(nowNs: bigint): Promise<{ readonly pending: number; readonly oldestSeconds: number }>;
}

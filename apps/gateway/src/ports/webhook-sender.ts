export interface WebhookMessage {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface WebhookReceipt {
  /** 0 when there was no answer. */
  readonly httpStatus: number;
  /** SCREAMING_SNAKE why there was none; empty otherwise. */
  readonly error: string;
}

/** Posts one message. Never throws: that nobody answers is an ordinary outcome of somebody else's server. */
export interface WebhookSender {
  send(message: WebhookMessage): Promise<WebhookReceipt>;
}

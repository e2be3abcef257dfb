import { createHmac } from 'node:crypto';
import type { Randomness } from '@settlement/kernel/ids';

/** Standard Webhooks 1.0 wants 24 to 64 bytes. */
const SECRET_BYTES = 32;

export function newWebhookSecret(randomness: Randomness): string {
  return `whsec_${Buffer.from(randomness.bytes(SECRET_BYTES)).toString('base64')}`;
}

export interface SignedContent {
  readonly messageId: string;
  /** Unix seconds of this attempt. */
  readonly timestamp: number;
  readonly body: string;
}

/** The three headers of Standard Webhooks 1.0; one `v1` signature for each secret that is valid now, separated by spaces. */
export function signatureHeaders({ messageId, timestamp, body }: SignedContent, secrets: readonly string[]): Readonly<Record<string, string>> {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${messageId}.${timestamp}.${body}`).digest('base64')}`;
  });
  return { 'webhook-id': messageId, 'webhook-timestamp': String(timestamp), 'webhook-signature': signatures.join(' ') };
}

import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Randomness } from '@settlement/kernel/ids';
import { OperationalError } from '@settlement/kernel/errors';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** AES-256-GCM with a key from the configuration: what the API must be able to show or sign with again, and a dump must not show. */
export class SecretBox {
  constructor(
    private readonly key: Uint8Array,
    private readonly randomness: Randomness,
  ) {}

  /** `v1.` and base64url of nonce, tag and ciphertext. */
  seal(text: string): string {
    const nonce = this.randomness.bytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.key, nonce);
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')}`;
  }

  /** Throws `OperationalError('SECRET_KEY_CHANGED')` when the configured key is not the one that sealed it. */
  open(sealed: string): string {
    const bytes = Buffer.from(sealed.slice('v1.'.length), 'base64url');
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8');
    } catch (cause) {
      throw new OperationalError('SECRET_KEY_CHANGED', 'a stored secret does not open with SECRETS_KEY', 'not-done', { cause });
    }
  }
}

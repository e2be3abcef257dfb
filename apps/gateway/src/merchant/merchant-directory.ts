import { timingSafeEqual } from 'node:crypto';
import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import type { ApiKeyId, MerchantId, SponsorId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { Pool } from 'pg';
import type { Mode } from '../payment/payment.events';
import { isApiKeySecret, sha256Hex } from './api-key';
import type { Caller } from './caller';
import { SCOPES, type Scope } from './scope';

interface KeyRow {
  readonly secret_sha256: string;
  readonly api_key_id: ApiKeyId;
  readonly scopes: readonly string[];
  readonly merchant_id: MerchantId;
  readonly mode: Mode;
  readonly display_name: string;
  readonly chain_id: ChainId;
  readonly payout_address: EvmAddress;
  readonly merchant_key: Bytes32;
  readonly sponsor_id: SponsorId;
}

/** How long another process may still take a key after its revocation; in the revoking process it ends at once. */
const CACHE_MS = 2_000;
const CACHED_MAX = 10_000;

/** Who an API key speaks for. Looked up by the secret's hash: no comparison with a stored secret whose time could tell something. */
export class MerchantDirectory {
  private readonly cache = new Map<string, { readonly caller: Caller; readonly untilMs: number }>();

  constructor(
    private readonly database: Pool,
    private readonly clock: Clock,
  ) {}

  async callerOf(secret: string): Promise<Caller | undefined> {
    if (!isApiKeySecret(secret)) return undefined;
    const hash = sha256Hex(secret);
    const nowMs = this.clock.monotonicMs();
    const cached = this.cache.get(hash);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.caller;
    const caller = await this.lookUp(hash, secret);
    if (caller === undefined) {
      this.cache.delete(hash);
      return undefined;
    }
    if (this.cache.size >= CACHED_MAX) this.cache.clear();
    this.cache.set(hash, { caller, untilMs: nowMs + CACHE_MS });
    return caller;
  }

  /** After a revocation in this process. */
  forget(): void {
    this.cache.clear();
  }

  private async lookUp(hash: string, secret: string): Promise<Caller | undefined> {
    const { rows } = await this.database.query<KeyRow>(
      `SELECT k.secret_sha256, k.api_key_id, k.scopes, m.merchant_id, m.mode, m.display_name, m.chain_id, m.payout_address, m.merchant_key, m.sponsor_id
         FROM gateway.api_key k JOIN gateway.merchant m USING (merchant_id)
        WHERE k.secret_sha256 = $1 AND NOT k.revoked`,
      [hash],
    );
    const [row] = rows;
    if (row === undefined || !timingSafeEqual(Buffer.from(row.secret_sha256, 'hex'), Buffer.from(hash, 'hex'))) return undefined;
    // A test key is never good for live money, whatever a row says.
    if (!secret.startsWith(`sk_${row.mode}_`)) return undefined;
    return {
      apiKeyId: row.api_key_id,
      scopes: new Set(row.scopes.filter((scope): scope is Scope => SCOPES.some((known) => known === scope))),
      merchant: {
        merchantId: row.merchant_id,
        mode: row.mode,
        displayName: row.display_name,
        chainId: row.chain_id,
        payoutAddress: row.payout_address,
        merchantKey: row.merchant_key,
        sponsorId: row.sponsor_id,
      },
    };
  }
}

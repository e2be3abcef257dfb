import type { ApiKeyId } from '@settlement/kernel/ids';
import type { Merchant } from './merchant.decider';
import type { Scope } from './scope';

/** Who an API key speaks for. */
export interface Caller {
  readonly apiKeyId: ApiKeyId;
  readonly merchant: Merchant;
  readonly scopes: ReadonlySet<Scope>;
}

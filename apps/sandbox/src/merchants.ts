import { payerOf } from './payer';
import type { MerchantAccount } from './traffic';
import { ApiClient } from './api-client';
import type { Endpoints } from './endpoints';

/** Registers merchants through the admin API, as an operator would. Same seed, same payout addresses. */
export async function registerMerchants(api: string | Endpoints, adminToken: string, chainId: string, count: number, seed: number, label: string): Promise<MerchantAccount[]> {
  const admin = new ApiClient(api, adminToken);
  const merchants: MerchantAccount[] = [];
  for (let index = 0; index < count; index += 1) {
    const payoutAddress = payerOf(seed, `merchant/${label}/${index}`).address;
    const answer = await admin.submit(
      'POST',
      '/v1/admin/merchants',
      { displayName: `Sandbox merchant ${index + 1}`, mode: 'test', chainId, payoutAddress },
      `sandbox-${label}-merchant-${seed}-${index}`,
    );
    const { id, apiKey } = answer.body as { id?: unknown; apiKey?: { secret?: unknown } };
    if (answer.status >= 300 || typeof id !== 'string' || typeof apiKey?.secret !== 'string') {
      throw new Error(`the gateway did not register merchant ${index}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    merchants.push({ id, apiKey: apiKey.secret, payoutAddress });
  }
  return merchants;
}

import { jsonVariable, parseEnvironment, positiveInteger, weiVariable, type Environment } from '@settlement/config/environment';
import { serviceVariables } from '@settlement/config/service-config';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import { z } from 'zod';

const sponsor = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9_.:-]{1,128}$/).transform((text) => text as SponsorId),
  budgetWei: weiVariable.transform((amount) => amount as Wei),
});

const schema = z.object({
  ...serviceVariables,
  /** JSON array of `{id, budgetWei}`: opened at start where they are not open yet. A budget that was changed since stays. */
  SPONSORS: jsonVariable(z.array(sponsor)).default([]),
  /**
   * Events of the relayer that are applied in one transaction. A final transaction has up to 150 intents, and the sponsor's
   * lock is held meanwhile: 50 events are at most 7,500 costs, some 100 ms.
   */
  COST_BATCH_SIZE: positiveInteger.max(1_000).default(50),
});

export type PaymasterConfig = z.output<typeof schema>;

export function parsePaymasterConfig(environment: Environment): PaymasterConfig {
  return parseEnvironment(schema, environment);
}

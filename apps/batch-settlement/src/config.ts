import { chainsVariable } from '@settlement/config/chain-config';
import { parseEnvironment, peerAddress, positiveInteger, type Environment } from '@settlement/config/environment';
import { serviceVariables } from '@settlement/config/service-config';
import { z } from 'zod';

const minorUnits = z
  .string()
  .regex(/^[1-9][0-9]*$/, 'expected minor units as decimal digits, at least 1')
  .transform((text) => BigInt(text));

const batchSettlementSchema = z.object({
  ...serviceVariables,
  CHAINS: chainsVariable,
  SCREENING_ADDRESS: peerAddress,
  PAYMASTER_ADDRESS: peerAddress,
  RELAYER_ADDRESS: peerAddress,
  /** A batch closes once its oldest payment has waited so long, */
  BATCH_MAX_AGE_MS: positiveInteger.default(60_000),
  /** or once so many payments wait, */
  BATCH_MAX_PAYMENTS: positiveInteger.default(5_000),
  /** or once so much is payable, in minor units of the token. */
  BATCH_MAX_VALUE_MINOR: minorUnits.default(1_000_000_000_000n),
  /** How often due batches, sealed batches and reserved refunds are looked after. */
  BATCH_TICK_MS: positiveInteger.default(250),
  /** Rest of a token's batches after one was refused as a whole. */
  BATCH_BACKOFF_MS: positiveInteger.default(30_000),
  /** The sponsor whose budget pays the gas of batches, and of refunds whose merchant has none. */
  BATCH_SPONSOR_ID: z.string().min(1).default('spo_settlement'),
  RECONCILE_INTERVAL_MS: positiveInteger.default(15_000),
  /** How long a fact of the chain may take to its posting before its absence is a break. Covers finality and the feeds. */
  RECONCILE_GRACE_MS: positiveInteger.default(120_000),
});

export type BatchSettlementConfig = z.output<typeof batchSettlementSchema>;

/** Throws `InvalidInput` with every problem at once. */
export function parseConfig(environment: Environment): BatchSettlementConfig {
  return parseEnvironment(batchSettlementSchema, environment);
}

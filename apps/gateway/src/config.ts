import { chainsVariable } from '@settlement/config/chain-config';
import { flagVariable, jsonVariable, parseEnvironment, peerAddress, portVariable, positiveInteger, type Environment } from '@settlement/config/environment';
import { serviceVariables } from '@settlement/config/service-config';
import { InvalidInput } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import { z } from 'zod';

/** Standard Webhooks' proposal: at once, then 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h; about three days in all. */
const RETRY_SCHEDULE_SECONDS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

const schema = z.object({
  ...serviceVariables,
  HTTP_HOST: z.string().default('127.0.0.1'),
  HTTP_PORT: portVariable.default(8080),
  CHAINS: chainsVariable,
  /** Opens `/v1/admin`. */
  ADMIN_TOKEN: z.string().min(24, 'expected at least 24 characters'),
  /** 32 bytes in base64: encrypts webhook secrets and stored answers that show a secret. */
  SECRETS_KEY: z
    .string()
    .refine((text) => Buffer.from(text, 'base64').length === 32, 'expected 32 bytes in base64')
    .transform((text): Uint8Array => Buffer.from(text, 'base64')),
  DEFAULT_SPONSOR_ID: z
    .string()
    .regex(/^spo_[0-9a-z_-]{1,64}$/, 'expected a sponsor id such as spo_default')
    .default('spo_default')
    .transform((text) => text as SponsorId),
  SCREENING_ADDRESS: peerAddress,
  PAYMASTER_ADDRESS: peerAddress,
  RELAYER_ADDRESS: peerAddress,
  BATCH_SETTLEMENT_ADDRESS: peerAddress,
  /** Requests that a key may have in hand at once, and the seconds in which that quota fills up again. */
  RATE_LIMIT_QUOTA: positiveInteger.default(20_000),
  RATE_LIMIT_WINDOW_SECONDS: positiveInteger.default(10),
  /**
   * How long a request waits for a store that is away before it is told to come again. Postgres that changes its primary took 21 s on a
   * full cluster; clients commonly wait for 30 s, and one that does not repeats under the same key.
   */
  STORE_PATIENCE_MS: z.coerce.number('expected milliseconds').int().min(0).max(25_000).default(25_000),
  /** Who may have x402 payments verified and settled, at the sponsor's cost: anybody, or holders of an API key with payments:write. */
  X402_ACCESS: z.enum(['open', 'api-key']).default('api-key'),
  /** Pays the gas of x402 settlements; absent, DEFAULT_SPONSOR_ID does. */
  X402_SPONSOR_ID: z
    .string()
    .regex(/^spo_[0-9a-z_-]{1,64}$/, 'expected a sponsor id such as spo_default')
    .transform((text) => text as SponsorId)
    .optional(),
  /** Until a settle request hears that the outcome is open. The SDK's resource servers wait 90 s. */
  X402_SETTLE_TIMEOUT_MS: positiveInteger.max(85_000).default(60_000),
  /** Further network names of version 1, such as {"anvil":"eip155:31337"}; the SDK's own need none. */
  X402_V1_NETWORKS: jsonVariable(z.record(z.string().regex(/^[a-z0-9-]{1,40}$/), z.string().regex(/^eip155:[1-9][0-9]{0,15}$/))).default({}),
  /** Payments that one call to the peers decides at most. */
  SUBMISSION_BATCH_MAX: positiveInteger.max(1_000).default(200),
  /** For sandboxes: http, loopback and private addresses become allowed as webhook targets. */
  WEBHOOK_ALLOW_PRIVATE: flagVariable.default(false),
  WEBHOOK_TIMEOUT_MS: positiveInteger.default(10_000),
  /** Pauses before the second and later attempts. */
  WEBHOOK_RETRY_SCHEDULE_SECONDS: jsonVariable(z.array(z.number().nonnegative()).min(1).max(30)).default(RETRY_SCHEDULE_SECONDS),
  /** How long both secrets sign after a rotation. */
  WEBHOOK_ROTATION_OVERLAP_SECONDS: positiveInteger.default(86_400),
});

export type GatewayConfig = z.output<typeof schema>;

/** Throws `InvalidInput` with every problem at once. */
export function parseGatewayConfig(environment: Environment): GatewayConfig {
  const config = parseEnvironment(schema, environment);
  // A key and its payment commit together, and a merchant's reference is unique over all partitions (docs/adr/0030).
  if (config.PARTITION_MAP !== undefined && new Set(config.PARTITION_MAP.map((shard) => shard.url)).size > 1) {
    throw new InvalidInput([{ path: 'PARTITION_MAP', message: 'all partitions of one gateway stand in one database; grow by merchants, one gateway each' }]);
  }
  return config;
}

import { chainsVariable } from '@settlement/config/chain-config';
import { jsonVariable, parseEnvironment, peerAddress, portVariable, positiveInteger, weiVariable, type Environment } from '@settlement/config/environment';
import { serviceVariables } from '@settlement/config/service-config';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import { InvalidInput } from '@settlement/kernel/errors';
import { z } from 'zod';
import { policyJson } from './policy/policy-json';

const sponsorId = z.string().regex(/^[A-Za-z0-9_.:-]{1,128}$/).transform((text) => text as SponsorId);

const sponsor = z.strictObject({
  id: sponsorId,
  budgetWei: weiVariable.transform((amount) => amount as Wei),
  /** Set at start where none was ever set. */
  policy: policyJson.optional(),
});

const apiKey = z.strictObject({
  sponsorId,
  /** SHA-256 of the key, hex: the configuration holds no key. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hex digits'),
});

/** 32 bytes of hex; the value is never echoed in an error or a log. */
const privateKey = z.string().regex(/^0x[0-9a-fA-F]{64}$/, 'expected a private key: 0x and 64 hex digits');

const schema = z.object({
  ...serviceVariables,
  /** JSON array of `{id, budgetWei}`: opened at start where they are not open yet. A budget that was changed since stays. */
  SPONSORS: jsonVariable(z.array(sponsor)).default([]),
  /**
   * Events of the relayer that are applied in one transaction. A final transaction has up to 150 intents, and the sponsor's
   * lock is held meanwhile: 50 events are at most 7,500 costs, some 100 ms.
   */
  COST_BATCH_SIZE: positiveInteger.max(1_000).default(50),
  /** Chains whose `sponsorPaymasters` this service signs for; others are ignored. */
  CHAINS: chainsVariable.optional(),
  /** The key that the paymaster contracts know as their signer. With it user operations are sponsored (ERC-7677). */
  PAYMASTER_SIGNER_KEY: privateKey.optional(),
  /** gRPC of compliance-screening; needed to sponsor user operations (I3). */
  SCREENING_ADDRESS: peerAddress.optional(),
  JSON_RPC_HOST: z.string().default('127.0.0.1'),
  /** ERC-7677; 0 takes a free port. */
  JSON_RPC_PORT: portVariable.default(0),
  /** JSON array of `{sponsorId, sha256}`. Empty: callers name their sponsor themselves, for networks that only own wallets reach. */
  SPONSOR_API_KEYS: jsonVariable(z.array(apiKey)).default([]),
  /** Pays where neither key nor context names a sponsor. */
  DEFAULT_SPONSOR_ID: sponsorId.optional(),
  /** Requests a minute of one key, or of one address without a key. */
  JSON_RPC_QUOTA: positiveInteger.default(600),
});

export type PaymasterConfig = z.output<typeof schema>;

export function parsePaymasterConfig(environment: Environment): PaymasterConfig {
  const config = parseEnvironment(schema, environment);
  if (config.PAYMASTER_SIGNER_KEY !== undefined) {
    const missing = (['CHAINS', 'SCREENING_ADDRESS'] as const).filter((name) => config[name] === undefined);
    if (missing.length > 0) throw new InvalidInput(missing.map((name) => ({ path: name, message: 'is missing (needed with PAYMASTER_SIGNER_KEY)' })));
  }
  return config;
}

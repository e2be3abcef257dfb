import { chainsVariable } from '@settlement/config/chain-config';
import { jsonVariable, parseEnvironment, peerAddress, portVariable, positiveInteger, weiVariable, type Environment } from '@settlement/config/environment';
import { serviceVariables } from '@settlement/config/service-config';
import { z } from 'zod';
import { CRASH_POINTS } from './ports/crash-points';

/** 32 bytes of hex; the value is never echoed in an error or a log. */
const privateKey = z.string().regex(/^0x[0-9a-fA-F]{64}$/, 'expected a private key: 0x and 64 hex digits');

const relayerSchema = z.object({
  ...serviceVariables,
  CHAINS: chainsVariable,
  /** JSON array of private keys; each is one lane on each chain, and the processes share them out. */
  RELAYER_KEYS: jsonVariable(z.array(privateKey).min(1)),
  /**
   * Names this process among those that share the lanes; drawn at random unless given. A process that is started again under
   * its own name need not wait for its leases to run out; two that live at once must not have the same.
   */
  INSTANCE_ID: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/).optional(),
  /** A lane whose owner has not renewed its lease for this long goes to another process. */
  LANE_LEASE_MS: positiveInteger.min(500).max(120_000).default(6_000),
  /** What another process was expected to take is anybody's after this. */
  AFFINITY_GRACE_MS: positiveInteger.max(60_000).default(1_000),
  /** How often a lane's balance and count are read. */
  LANE_CHECK_MS: positiveInteger.min(50).max(60_000).default(2_000),
  /** Whole reverts and refused broadcasts in a row after which a lane plans nothing new until a person has looked. */
  LANE_FAILURES_MAX: positiveInteger.default(5),
  /** An unmined transaction that is older than this quarantines its lane until it is mined. */
  LANE_STUCK_MS: positiveInteger.default(900_000),
  /** Private key that gives the keys above gas money; without it they are funded by hand. It is a lane of its own. */
  TREASURY_KEY: privateKey.optional(),
  /** A key that holds less is topped up; twice KEY_BALANCE_WEI_MIN unless given. */
  TOP_UP_BELOW_WEI: weiVariable.optional(),
  /** What a key gets at a time. */
  TOP_UP_WEI: weiVariable.default(100_000_000_000_000_000n),
  /** What all keys of one chain get within an hour, and within a day. */
  TOP_UP_WEI_PER_HOUR: weiVariable.default(500_000_000_000_000_000n),
  TOP_UP_WEI_PER_DAY: weiVariable.default(2_000_000_000_000_000_000n),
  /** Transactions of one lane that are broadcast and not yet mined. Geth drops what is more than 16 deep in its queue under load. */
  LANE_IN_FLIGHT_MAX: positiveInteger.max(64).default(8),
  /** Collects of one transaction; EIP-7825 leaves room for about 150. */
  COLLECT_ITEMS_MAX: positiveInteger.max(150).default(100),
  /** A transaction that is not full leaves after this. */
  COLLECT_WAIT_MS: z.coerce.number().int().min(0).max(60_000).default(250),
  /** An authorization that runs out sooner than this is given up unsigned. */
  EXPIRY_MARGIN_S: z.coerce.number().int().min(0).max(3_600).default(6),
  /** Ceiling of what a gas unit may cost, and what reservations are made with. */
  FEE_PER_GAS_WEI_MAX: weiVariable.default(50_000_000_000n),
  PRIORITY_FEE_PER_GAS_WEI_MIN: weiVariable.default(1_000_000n),
  /** Most that is given on top at first, whatever others give; a replacement may exceed it. */
  PRIORITY_FEE_PER_GAS_WEI_MAX: weiVariable.default(10_000_000_000n),
  /** What one chain's transactions may cost in an hour, all lanes of all processes together. */
  GAS_WEI_PER_HOUR_MAX: weiVariable.optional(),
  /** An unmined transaction offers more after so many blocks. */
  REPLACE_AFTER_BLOCKS: positiveInteger.default(3),
  /** At its ceiling and unmined for so many blocks, its nonce is freed by a no-op. */
  NO_OP_AFTER_BLOCKS: positiveInteger.default(30),
  /** How often the chain is asked for a new block; a quarter of its block time unless given. */
  POLL_MS: positiveInteger.optional(),
  /** Recorded bytes of an unmined transaction go out again after this. */
  REBROADCAST_MS: positiveInteger.default(5_000),
  /** A JSON-RPC request is given up, and its outcome unknown, after this. */
  RPC_TIMEOUT_MS: positiveInteger.default(10_000),
  /** Below this balance the service is not ready: it could not pay for gas. */
  KEY_BALANCE_WEI_MIN: weiVariable.default(10_000_000_000_000_000n),
  /** gRPC of the paymaster: with it, sponsored user operations are taken by JSON-RPC (ERC-4337). */
  PAYMASTER_ADDRESS: peerAddress.optional(),
  BUNDLER_HOST: z.string().default('127.0.0.1'),
  /** ERC-4337 JSON-RPC; 0 takes a free port. */
  BUNDLER_PORT: portVariable.default(0),
  /** Requests a minute of one address. Wallets poll for receipts. */
  BUNDLER_QUOTA: positiveInteger.default(6_000),
  /** Tests only: the process kills itself at this point. */
  CRASH_AT: z.enum(CRASH_POINTS).optional(),
});

export type RelayerConfig = z.output<typeof relayerSchema>;

export function parseRelayerConfig(environment: Environment): RelayerConfig {
  return parseEnvironment(relayerSchema, environment);
}

import { parseChainId, parseEvmAddress, type ChainId, type EvmAddress } from '@settlement/kernel/address';
import type { TokenSymbol } from '@settlement/kernel/money';
import { z } from 'zod';
import { jsonVariable } from './environment';

const chainId = z.string().transform((text, context): ChainId => {
  const result = parseChainId(text);
  if (result.ok) return result.value;
  context.addIssue({ code: 'custom', message: result.issues[0]?.message ?? 'expected a CAIP-2 chain id' });
  return z.NEVER;
});

const address = z.string().transform((text, context): EvmAddress => {
  const result = parseEvmAddress(text);
  if (result.ok) return result.value;
  context.addIssue({ code: 'custom', message: result.issues[0]?.message ?? 'expected an address' });
  return z.NEVER;
});

const tokenConfig = z.strictObject({
  symbol: z.string().regex(/^[A-Z][A-Z0-9.]{0,15}$/).transform((text) => text as TokenSymbol),
  address,
  decimals: z.number().int().min(0).max(36),
  /** EIP-712 domain of the token, as its `name()` and `version()` answer. */
  eip712Name: z.string().min(1),
  eip712Version: z.string().min(1),
});

const chainConfig = z.strictObject({
  chainId,
  /** Test keys see test chains only, live keys live ones. */
  mode: z.enum(['test', 'live']),
  rpcUrls: z.array(z.url({ protocol: /^https?$/ })).min(1),
  /** Endpoints that must say the same before it is believed; more than half of `rpcUrls` unless given. With two endpoints that guards against lies, with three against an outage as well. */
  rpcQuorum: z.number().int().positive().optional(),
  /** A transaction goes to these alone at first, and to `rpcUrls` as well when `privateRpcBlocks` have passed without it. */
  privateRpcUrls: z.array(z.url({ protocol: /^https?$/ })).optional(),
  /** Default 3. */
  privateRpcBlocks: z.number().int().min(0).max(1_000).optional(),
  /** An endpoint further behind is not asked. Default 5. */
  rpcLagBlocksMax: z.number().int().positive().optional(),
  vaultAddress: address,
  /** `Transfers`, through which direct payments go; without it this chain offers none. */
  transfersAddress: address.optional(),
  /** The canonical x402 proxy of Permit2 (`x402ExactPermit2Proxy`); without it this chain settles no Permit2 payments. */
  permit2ProxyAddress: address.optional(),
  /** ERC-4337 entry points whose operations are bundled. */
  entryPoints: z.array(z.strictObject({ address, version: z.enum(['0.7', '0.8']) })).optional(),
  /** Our paymaster, one per entry point. */
  sponsorPaymasters: z.array(z.strictObject({ entryPoint: address, address })).optional(),
  /** ERC-6492: factories that `Transfers` may call to deploy a payer's wallet on the way. */
  walletFactories: z.array(address).optional(),
  /** Blocks on top of a transaction's block before it counts as final. */
  finalityDepth: z.number().int().min(0).max(1_000),
  /** Final is what the node calls so by this block tag; the depth above is a floor then. Without it the depth alone decides. */
  finalityTag: z.enum(['finalized', 'safe']).optional(),
  /** Expected time between blocks; paces polling. */
  blockTimeMs: z.number().int().positive(),
  tokens: z.array(tokenConfig).min(1),
});

export type TokenConfig = z.output<typeof tokenConfig>;
export type ChainConfig = z.output<typeof chainConfig>;

/** The variable `CHAINS`: a JSON array of chains. */
export const chainsVariable = jsonVariable(
  z.array(chainConfig.refine(({ rpcUrls, rpcQuorum }) => rpcQuorum === undefined || rpcQuorum <= rpcUrls.length, { path: ['rpcQuorum'], message: 'expected at most as many as rpcUrls' })).min(1),
);

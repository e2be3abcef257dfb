import { quantity } from '@settlement/chain/hex';
import { parseUserOperation, type MissingAllowed } from '@settlement/chain/user-operation-json';
import { eip155Number, parseEvmAddress, type ChainId } from '@settlement/kernel/address';
import { InvalidInput } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import { INVALID_PARAMS, JsonRpcError } from '@settlement/rpc/json-rpc-error';
import type { JsonRpcCall, JsonRpcMethod } from '@settlement/rpc/json-rpc-server';
import type { EntryPointAt } from '../ports/operation-chain';
import type { OperationSponsor, PaymasterFields, SponsorQuestion } from '../sponsorship/operation-sponsor';
import { paymasterError } from './paymaster-error';

export interface SponsoredChain {
  readonly chainId: ChainId;
  readonly entryPoints: readonly EntryPointAt[];
}

export interface Erc7677Options {
  readonly chains: readonly SponsoredChain[];
  readonly sponsor: OperationSponsor;
  /** Whose budget a call draws on; throws when the caller may not say. */
  readonly access: SponsorAccess;
}

/** API keys of sponsors. Without any, callers name their sponsor themselves: for a network that only one's own wallets reach. */
export interface SponsorAccess {
  /** By the SHA-256 of the key, hex. */
  readonly sponsorOfKey: (key: string) => SponsorId | undefined;
  readonly keysNeeded: boolean;
  readonly defaultSponsor: SponsorId | undefined;
}

/** Forbidden, in JSON-RPC's application range as several providers use it. */
const UNAUTHORIZED = -32_001;

/**
 * ERC-7677. Parameters: user operation, entry point, chain id, context. `context.sponsorId` chooses the sponsor where no API
 * key does.
 */
export function erc7677Methods({ chains, sponsor, access }: Erc7677Options): Readonly<Record<string, JsonRpcMethod>> {
  const questionOf = (params: readonly unknown[], call: JsonRpcCall, missing: MissingAllowed): SponsorQuestion => {
    const [operation, entryPoint, chainId, context] = params;
    if (params.length < 3 || params.length > 4) throw new JsonRpcError(INVALID_PARAMS, 'expected [userOperation, entryPoint, chainId, context]');
    const chain = chainOf(chainId, chains);
    const at = entryPointOf(entryPoint, chain);
    const sponsorId = sponsorOf(context, call, access);
    const parsed = parseUserOperation(operation, missing);
    if (!parsed.ok) throw new InvalidInput(parsed.issues.map(({ path, message }) => ({ path: path === '' ? 'userOperation' : `userOperation.${path}`, message })));
    return { operation: parsed.operation, chainId: chain.chainId, entryPoint: at, sponsorId, traceparent: call.traceparent };
  };

  return {
    async pm_getPaymasterStubData(params, call) {
      const answer = await sponsor.stub(questionOf(params, call, { gas: true, fees: true, signature: true }));
      if (answer.kind === 'refused') throw paymasterError(answer.refusal);
      const { display } = answer.policy;
      // Never final: the signature covers gas figures that are estimated with this stub.
      return { ...fieldsToJson(answer.fields), ...(display === undefined ? {} : { sponsor: display }), isFinal: false };
    },
    async pm_getPaymasterData(params, call) {
      const answer = await sponsor.sponsor(questionOf(params, call, { signature: true }));
      if (answer.kind === 'refused') throw paymasterError(answer.refusal);
      return fieldsToJson(answer.fields);
    },
    pm_supportedEntryPoints: () => Promise.resolve([...new Set(chains.flatMap(({ entryPoints }) => entryPoints.map(({ address }) => address)))]),
  };
}

function fieldsToJson({ paymaster, paymasterData, paymasterVerificationGasLimit, paymasterPostOpGasLimit }: PaymasterFields) {
  return {
    paymaster,
    paymasterData,
    paymasterVerificationGasLimit: quantity(paymasterVerificationGasLimit),
    paymasterPostOpGasLimit: quantity(paymasterPostOpGasLimit),
  };
}

function chainOf(value: unknown, chains: readonly SponsoredChain[]): SponsoredChain {
  if (typeof value !== 'string' || !/^0x[0-9a-fA-F]{1,16}$/.test(value)) throw new InvalidInput([{ path: 'chainId', message: 'expected a chain id in 0x hex' }]);
  const chain = chains.find(({ chainId }) => eip155Number(chainId) === BigInt(value));
  if (chain === undefined) throw new InvalidInput([{ path: 'chainId', message: `expected one of ${chains.map(({ chainId }) => quantity(eip155Number(chainId))).join(', ')}` }]);
  return chain;
}

function entryPointOf(value: unknown, chain: SponsoredChain): EntryPointAt {
  const address = parseEvmAddress(value);
  const found = address.ok ? chain.entryPoints.find((it) => it.address === address.value) : undefined;
  if (found === undefined) throw new InvalidInput([{ path: 'entryPoint', message: `expected one of ${chain.entryPoints.map((it) => `${it.address} (v${it.version})`).join(', ')}` }]);
  return found;
}

function sponsorOf(context: unknown, call: JsonRpcCall, access: SponsorAccess): SponsorId {
  if (context !== undefined && context !== null && (typeof context !== 'object' || Array.isArray(context))) throw new InvalidInput([{ path: 'context', message: 'expected an object' }]);
  const named: unknown = typeof context === 'object' && context !== null && 'sponsorId' in context ? context.sponsorId : undefined;
  if (named !== undefined && (typeof named !== 'string' || !/^[A-Za-z0-9_.:-]{1,128}$/.test(named))) throw new InvalidInput([{ path: 'context.sponsorId', message: 'expected 1 to 128 letters, digits, _ . : -' }]);
  const ofKey = call.key === undefined ? undefined : access.sponsorOfKey(call.key);
  if (access.keysNeeded) {
    if (ofKey === undefined) throw new JsonRpcError(UNAUTHORIZED, 'send an API key of the sponsor as /rpc/<key> or as a bearer token', { reason: 'API_KEY_INVALID' });
    // A key is worth its own sponsor only.
    if (named !== undefined && named !== ofKey) throw new JsonRpcError(UNAUTHORIZED, 'this API key speaks for another sponsor', { reason: 'SPONSOR_OF_OTHER_KEY' });
    return ofKey;
  }
  const sponsorId = ofKey ?? named ?? access.defaultSponsor;
  if (sponsorId === undefined) throw new InvalidInput([{ path: 'context.sponsorId', message: 'is missing' }]);
  return sponsorId as SponsorId;
}

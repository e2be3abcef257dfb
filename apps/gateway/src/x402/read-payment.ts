import { parseChecksumAddress } from '@settlement/chain/eip55';
import { PERMIT2, unwrapErc6492 } from '@settlement/chain/direct-payment';
import { parseBytes32, parseEvmAddress, parseHexBytes, type EvmAddress, type HexBytes } from '@settlement/kernel/address';
import { UINT256_MAX, type TokenUnits } from '@settlement/kernel/money';
import type { Networks, X402Chain } from './networks';
import type { PaymentTerms } from './payment-terms';
import { PROTOCOL_REASONS, SDK_REASONS } from './reasons';
import { settlementIdOf, sha256Hex } from './settlement-id';

export interface Refusal {
  readonly reason: string;
  /** For a person. */
  readonly message?: string;
  readonly payer?: string;
  readonly network?: string;
}

export type ReadPayment = { readonly ok: true; readonly terms: PaymentTerms } | { readonly ok: false; readonly refusal: Refusal };

type Fields = Readonly<Record<string, unknown>>;

/** Ends the reading with its refusal. */
class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.reason);
  }
}

/** What clients are asked for is one kind of payment; more would only be guessed at. */
const IDENTIFIER = 'payment-identifier';

/**
 * Reads `{x402Version, paymentPayload, paymentRequirements}`. Checks stand in the order of the SDK's facilitator, so that a
 * payload with several faults is refused for the same one.
 */
export function readPayment(paymentPayload: unknown, paymentRequirements: unknown, networks: Networks): ReadPayment {
  try {
    return { ok: true, terms: read(fieldsOf(paymentPayload), fieldsOf(paymentRequirements), networks) };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, refusal: error.refusal };
    throw error;
  }
}

function read(payload: Fields, requirements: Fields, networks: Networks): PaymentTerms {
  const version = payload['x402Version'];
  if (version !== 1 && version !== 2) throw new Refused({ reason: PROTOCOL_REASONS.invalidVersion, message: 'expected x402Version 1 or 2' });
  const scheme = fieldsOf(payload['payload']);
  const permit = 'permit2Authorization' in scheme ? fieldsOf(scheme['permit2Authorization']) : undefined;
  const authorization = permit ?? fieldsOf(scheme['authorization']);
  const offer = version === 1 ? payload : fieldsOf(payload['accepted']);
  const payer = textOf(authorization['from']);
  const network = textOf(offer['network']);
  const refuse = (reason: string, message?: string): Refused =>
    new Refused({ reason, ...(message === undefined ? {} : { message }), ...(payer === undefined ? {} : { payer }), ...(network === undefined ? {} : { network }) });

  // The SDK's registry looks first: it knows a facilitator for the requirements, or none.
  if (requirements['scheme'] !== 'exact') throw refuse(PROTOCOL_REASONS.unsupportedScheme, 'expected the scheme exact');
  const chain = networks.find(version, textOf(requirements['network']) ?? '');
  if (chain === undefined) throw refuse(PROTOCOL_REASONS.invalidNetwork, 'this facilitator does not settle on that network; see /supported');
  if (payer === undefined) throw refuse(PROTOCOL_REASONS.invalidPayload, permit === undefined ? 'payload.authorization.from is missing' : 'payload.permit2Authorization.from is missing');
  if (permit !== undefined && version === 1) throw refuse(SDK_REASONS.unsupportedPayload, 'version 1 knows EIP-3009 only');
  if (offer['scheme'] !== 'exact') throw refuse(permit === undefined ? SDK_REASONS.invalidScheme : SDK_REASONS.unsupportedPayload);

  const known = { version, chain, scheme, authorization, offer, requirements, payer, network: network ?? '', refuse } as const;
  const terms = permit === undefined ? readEip3009(known, networks) : readPermit2(known);
  return { ...terms, requirementsDigest: requirementsDigestOf(payload, requirements), identifier: identifierOf(payload['extensions']) };
}

interface Known {
  readonly version: 1 | 2;
  readonly chain: X402Chain;
  readonly scheme: Fields;
  readonly authorization: Fields;
  readonly offer: Fields;
  readonly requirements: Fields;
  readonly payer: string;
  readonly network: string;
  readonly refuse: (reason: string, message?: string) => Refused;
}

type Unfinished<T> = T extends unknown ? Omit<T, 'requirementsDigest' | 'identifier'> : never;

function readEip3009({ version, chain, scheme, authorization, requirements, payer, network, refuse }: Known, networks: Networks): Unfinished<PaymentTerms> {
  if (version === 1 && !networks.isV1Name(network)) throw refuse(SDK_REASONS.networkMismatch);
  const { name, version: domainVersion } = fieldsOf(requirements['extra']);
  if (typeof name !== 'string' || name === '' || typeof domainVersion !== 'string' || domainVersion === '') throw refuse(SDK_REASONS.missingDomain);
  const asset = addressOf(requirements['asset'], refuse, 'asset');
  if (network !== requirements['network']) throw refuse(SDK_REASONS.networkMismatch);

  const integer = (field: string): bigint => integerOf(authorization[field], () => refuse(PROTOCOL_REASONS.invalidPayload, `payload.authorization.${field} is no integer`));
  const [value, validAfter, validBefore] = [integer('value'), integer('validAfter'), integer('validBefore')];
  if (typeof scheme['signature'] !== 'string') throw refuse(PROTOCOL_REASONS.invalidPayload, 'payload.signature is missing');
  // What cannot be hashed cannot have been signed.
  const from = parseChecksumAddress(payer);
  const to = parseChecksumAddress(textOf(authorization['to']) ?? '');
  const nonce = parseBytes32(authorization['nonce']);
  const signature = parseHexBytes(scheme['signature']);
  if (!from.ok || !to.ok || !nonce.ok || !signature.ok || ![value, validAfter, validBefore].every(isUint256)) throw refuse(SDK_REASONS.invalidSignature);

  return {
    method: 'eip3009', version, network, chain, asset,
    settlementId: settlementIdOf(chain.chainId, asset, from.value, nonce.value),
    payer: from.value,
    payerText: payer,
    payee: to.value,
    amount: value as TokenUnits,
    signature: signature.value,
    validAfter, validBefore,
    nonce: nonce.value,
    domainName: name,
    domainVersion,
    wrapped: unwrapped(signature.value, refuse),
    required: requiredOf(requirements[version === 1 ? 'maxAmountRequired' : 'amount'], requirements['payTo']),
    payloadDigest: sha256Hex('eip3009', chain.chainId, asset, from.value, to.value, String(value), String(validAfter), String(validBefore), nonce.value, signature.value),
  };
}

function readPermit2({ version, chain, scheme, authorization, requirements, payer, network, refuse }: Known): Unfinished<PaymentTerms> {
  if (network !== requirements['network']) throw refuse(SDK_REASONS.networkMismatch);
  const asset = addressOf(requirements['asset'], refuse, 'asset');
  const permitted = fieldsOf(authorization['permitted']);
  const witness = fieldsOf(authorization['witness']);
  const malformed = (field: string) => (): Refused => refuse(PROTOCOL_REASONS.invalidPayload, `payload.permit2Authorization.${field} is malformed`);
  const address = (value: unknown, field: string): EvmAddress => {
    const result = parseEvmAddress(value);
    if (!result.ok) throw malformed(field)();
    return result.value;
  };
  const spender = address(authorization['spender'], 'spender');
  const payee = address(witness['to'], 'witness.to');
  const deadline = integerOf(authorization['deadline'], malformed('deadline'));
  const validAfter = integerOf(witness['validAfter'], malformed('witness.validAfter'));
  const amount = integerOf(permitted['amount'], malformed('permitted.amount'));
  const permittedToken = address(permitted['token'], 'permitted.token');
  const nonce = integerOf(authorization['nonce'], malformed('nonce'));
  const from = parseChecksumAddress(payer);
  const signature = parseHexBytes(scheme['signature']);
  if (!from.ok || !signature.ok || ![deadline, validAfter, amount, nonce].every(isUint256)) throw refuse(SDK_REASONS.permit2Signature);
  return {
    method: 'permit2', version, network, chain, asset, payee, spender, permittedToken, deadline, validAfter, nonce,
    settlementId: settlementIdOf(chain.chainId, PERMIT2, from.value, nonce.toString()),
    payer: from.value,
    payerText: payer,
    amount: amount as TokenUnits,
    signature: signature.value,
    required: requiredOf(requirements['amount'], requirements['payTo']),
    payloadDigest: sha256Hex('permit2', chain.chainId, permittedToken, from.value, payee, String(amount), String(validAfter), String(deadline), String(nonce), spender, signature.value),
  };
}

function fieldsOf(value: unknown): Fields {
  // Any object serves: what a field holds is checked where it is read.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const isUint256 = (value: bigint): boolean => value >= 0n && value <= UINT256_MAX;

function addressOf(value: unknown, refuse: Known['refuse'], field: string): EvmAddress {
  const result = parseEvmAddress(value);
  if (!result.ok) throw refuse(PROTOCOL_REASONS.invalidRequirements, `paymentRequirements.${field} is no address`);
  return result.value;
}

/** As JavaScript's BigInt reads it, which is how the SDK does. */
function integerOf(value: unknown, otherwise: () => Refused): bigint {
  if (typeof value !== 'string' && typeof value !== 'number') throw otherwise();
  try {
    return BigInt(value);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) throw otherwise();
    throw error;
  }
}

function requiredOf(amount: unknown, payTo: unknown): PaymentTerms['required'] {
  const payee = parseEvmAddress(payTo);
  const digits = typeof amount === 'string' || typeof amount === 'number' ? String(amount) : '';
  return { payee: payee.ok ? payee.value : undefined, amount: /^[0-9]{1,78}$/.test(digits) ? BigInt(digits) : undefined };
}

function unwrapped(signature: HexBytes, refuse: Known['refuse']): ReturnType<typeof unwrapErc6492> {
  try {
    const wrapped = unwrapErc6492(signature);
    return wrapped === undefined || /^0x0{40}$/.test(wrapped.factory) ? undefined : wrapped;
  } catch (error) {
    if (error instanceof RangeError) throw refuse(PROTOCOL_REASONS.invalidPayload, error.message);
    throw error;
  }
}

/** Version 1 names its resource in the requirements, version 2 in the payload. */
function requirementsDigestOf(payload: Fields, requirements: Fields): string {
  const resource = textOf(requirements['resource']) ?? textOf(fieldsOf(payload['resource'])['url']) ?? '';
  return sha256Hex(...['scheme', 'network', 'asset', 'payTo', 'amount', 'maxAmountRequired'].map((field) => String(requirements[field] ?? '').toLowerCase()), resource);
}

function identifierOf(extensions: unknown): PaymentTerms['identifier'] {
  const extension = fieldsOf(extensions)[IDENTIFIER];
  if (extension === undefined || extension === null) return { kind: 'none' };
  const { required, id } = fieldsOf(fieldsOf(extension)['info']);
  if (typeof required !== 'boolean') return { kind: 'invalid' };
  if (id === undefined) return required ? { kind: 'invalid' } : { kind: 'none' };
  // Its text is the client's and could name a person, so only its digest is kept (I9).
  return typeof id === 'string' && /^[a-zA-Z0-9_-]{16,128}$/.test(id) ? { kind: 'given', digest: sha256Hex('payment-identifier', id) } : { kind: 'invalid' };
}

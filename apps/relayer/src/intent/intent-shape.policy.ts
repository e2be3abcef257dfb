import { EIP7702_FACTORY, userOperationHash, type UserOperation } from '@settlement/chain/user-operation';
import { AMOUNT_MAX, VALIDITY_MAX } from '@settlement/chain/vault-codec';
import { eip155Number, parseBytes32, parseEvmAddress, parseHexBytes, type EvmAddress } from '@settlement/kernel/address';
import { parseTokenUnits } from '@settlement/kernel/money';
import type { UnixSeconds } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import type { Eip3009Authorization } from '@settlement/proto/common/v1/common';
import {
  IntentReason,
  type CollectIntent,
  type Permit2TransferIntent,
  type RefundIntent,
  type SettleIntent,
  type SubmitRequest,
  type TopUpIntent,
  type TransferIntent,
  type UserOperationIntent,
} from '@settlement/proto/relayer/v1/relayer';
import { GAS_MODEL } from '../lane/gas-model';
import { gasLimitOf, TRANSACTION_GAS_MAX } from '../lane/pack.policy';
import type { AdmissionChain, AdmissionLimits } from './admission-rules';
import type { IntentCall, PayoutItem, UserOperationCall } from './intent';

/** What a request of each kind must look like, and the typed call that it then is. */
export type Shape = { readonly ok: true; readonly call: IntentCall } | { readonly ok: false; readonly reason: IntentReason };

/** Ids are chosen by the caller; bounded because they become stream names. */
export const ID_PATTERN = /^[A-Za-z0-9_.:-]{1,128}$/;

/**
 * ERC-1271 signatures have no bound of their own. A Safe with 10 owners needs 650 bytes, a passkey wallet about 700; more would
 * crowd others out of a transaction.
 */
const SIGNATURE_BYTES_MAX = 2_048;
/** Of a wallet's deployment, of an operation's call and of its paymaster's data. Real ones have some hundred to a few thousand. */
const FACTORY_DATA_BYTES_MAX = 8_192;
const CALL_DATA_BYTES_MAX = 16_384;
const PAYMASTER_DATA_BYTES_MAX = 2_048;
/** The entry points refuse what does not fit; nonces have all 256 bits. */
const GAS_FIELD_MAX = 2n ** 120n - 1n;
const UINT256_MAX = 2n ** 256n - 1n;
/** What one top-up may move. 100 units of native currency are far above any key's need. */
const TOP_UP_WEI_MAX = 10n ** 20n;

const refuse = (reason: IntentReason): Shape => ({ ok: false, reason });
const MALFORMED = refuse(IntentReason.INTENT_REASON_MALFORMED);
const taken = (call: IntentCall): Shape => ({ ok: true, call });

export function callOf(kind: NonNullable<SubmitRequest['kind']>, chain: AdmissionChain, limits: AdmissionLimits): Shape {
  switch (kind.$case) {
    case 'collect':
      return withToken(kind.value.token, chain, (token) => collectOf(kind.value, token, chain));
    case 'settle':
      return withToken(kind.value.token, chain, (token) => settleOf(kind.value, token, limits));
    case 'refund':
      return withToken(kind.value.token, chain, (token) => refundOf(kind.value, token));
    case 'transfer':
      return withToken(kind.value.token, chain, (token) => transferOf(kind.value, token, chain));
    case 'permit2Transfer':
      return withToken(kind.value.token, chain, (token) => permit2Of(kind.value, token, chain));
    case 'userOperation':
      return userOperationOf(kind.value, chain);
    case 'topUp':
      return topUpOf(kind.value);
    default:
      return unreachable(kind);
  }
}

/** By symbol as configured, or by address. */
function withToken(text: string, chain: AdmissionChain, then: (token: EvmAddress) => Shape): Shape {
  const address = parseEvmAddress(text);
  const token = chain.tokens.find((candidate) => candidate.symbol === text || (address.ok && candidate.address === address.value));
  return token === undefined ? refuse(IntentReason.INTENT_REASON_UNKNOWN_TOKEN) : then(token.address);
}

/** EIP-3009, as far as the packed call data can carry it. */
function authorizationOf(authorization: Eip3009Authorization | undefined) {
  if (authorization === undefined) return undefined;
  const from = parseEvmAddress(authorization.from);
  const to = parseEvmAddress(authorization.to);
  const value = parseTokenUnits(authorization.valueMinor);
  const nonce = parseBytes32(authorization.nonce);
  const signature = signatureOf(authorization.signature);
  if (!from.ok || !to.ok || !value.ok || !nonce.ok || signature === undefined) return undefined;
  if (value.value === 0n || value.value > AMOUNT_MAX) return undefined;
  if (authorization.validAfter < 0n || authorization.validBefore <= authorization.validAfter || authorization.validBefore > VALIDITY_MAX) return undefined;
  return {
    from: from.value,
    to: to.value,
    value: value.value,
    validAfter: authorization.validAfter as UnixSeconds,
    validBefore: authorization.validBefore as UnixSeconds,
    nonce: nonce.value,
    signature,
  };
}

function signatureOf(text: string) {
  const signature = parseHexBytes(text);
  return signature.ok && signature.value.length > 2 && signature.value.length <= 2 + 2 * SIGNATURE_BYTES_MAX ? signature.value : undefined;
}

function bytesOf(text: string, bytesMax: number) {
  const bytes = parseHexBytes(text === '' ? '0x' : text);
  return bytes.ok && bytes.value.length <= 2 + 2 * bytesMax ? bytes.value : undefined;
}

function collectOf({ authorization, merchantKey }: CollectIntent, token: EvmAddress, chain: AdmissionChain): Shape {
  const signed = authorizationOf(authorization);
  const key = parseBytes32(merchantKey);
  // receiveWithAuthorization pays only its caller: an authorization to anyone but the vault can never be collected.
  if (signed?.to !== chain.vaultAddress || !key.ok) return MALFORMED;
  const { from, value, validAfter, validBefore, nonce, signature } = signed;
  return taken({ kind: 'collect', token, from, value, validAfter, validBefore, nonce, signature, merchantKey: key.value });
}

function transferOf({ authorization, factory, factoryData }: TransferIntent, token: EvmAddress, chain: AdmissionChain): Shape {
  if (chain.transfersAddress === undefined) return refuse(IntentReason.INTENT_REASON_NOT_ALLOWED);
  const signed = authorizationOf(authorization);
  if (signed === undefined || isOurs(signed.to, chain)) return MALFORMED;
  if (factory === '') return factoryData === '' || factoryData === '0x' ? taken({ kind: 'transfer', token, ...signed }) : MALFORMED;
  const deployer = parseEvmAddress(factory);
  const data = bytesOf(factoryData, FACTORY_DATA_BYTES_MAX);
  if (!deployer.ok || data === undefined) return MALFORMED;
  if (chain.walletFactories?.includes(deployer.value) !== true) return refuse(IntentReason.INTENT_REASON_NOT_ALLOWED);
  return taken({ kind: 'transfer', token, ...signed, deployment: { factory: deployer.value, factoryData: data } });
}

/** What goes to `Transfers` could never leave it again; what goes to the vault past `collect` would be credited to nobody. */
function isOurs(payee: EvmAddress, chain: AdmissionChain): boolean {
  return payee === chain.transfersAddress || payee === chain.vaultAddress;
}

function permit2Of(permit: Permit2TransferIntent, token: EvmAddress, chain: AdmissionChain): Shape {
  if (chain.permit2ProxyAddress === undefined || chain.transfersAddress === undefined) return refuse(IntentReason.INTENT_REASON_NOT_ALLOWED);
  const owner = parseEvmAddress(permit.owner);
  const to = parseEvmAddress(permit.to);
  const amount = parseTokenUnits(permit.amountMinor);
  const nonce = quantityOf(permit.nonce, UINT256_MAX);
  const signature = signatureOf(permit.signature);
  if (!owner.ok || !to.ok || !amount.ok || nonce === undefined || signature === undefined) return MALFORMED;
  if (isOurs(to.value, chain) || amount.value === 0n || amount.value > AMOUNT_MAX) return MALFORMED;
  if (permit.validAfter < 0n || permit.deadline < permit.validAfter || permit.deadline > VALIDITY_MAX) return MALFORMED;
  return taken({
    kind: 'permit2Transfer',
    token,
    owner: owner.value,
    to: to.value,
    amount: amount.value,
    nonce,
    validAfter: permit.validAfter as UnixSeconds,
    deadline: permit.deadline as UnixSeconds,
    signature,
  });
}

function settleOf({ batchKey, payouts }: SettleIntent, token: EvmAddress, limits: AdmissionLimits): Shape {
  const batch = parseBytes32(batchKey);
  if (!batch.ok || payouts.length === 0 || payouts.length > limits.settlePayoutsMax) return MALFORMED;
  const items: PayoutItem[] = [];
  for (const payout of payouts) {
    const merchantKey = parseBytes32(payout.merchantKey);
    const to = parseEvmAddress(payout.to);
    const amount = parseTokenUnits(payout.amountMinor);
    if (!merchantKey.ok || !to.ok || !amount.ok || amount.value === 0n || amount.value > AMOUNT_MAX || !ID_PATTERN.test(payout.payoutId)) return MALFORMED;
    items.push({ payoutId: payout.payoutId, merchantKey: merchantKey.value, to: to.value, amount: amount.value });
  }
  if (new Set(items.map((item) => item.payoutId)).size !== items.length) return MALFORMED;
  return taken({ kind: 'settle', token, batchKey: batch.value, payouts: items });
}

function refundOf(refund: RefundIntent, token: EvmAddress): Shape {
  const refundKey = parseBytes32(refund.refundKey);
  const merchantKey = parseBytes32(refund.merchantKey);
  const to = parseEvmAddress(refund.to);
  const amount = parseTokenUnits(refund.amountMinor);
  if (!refundKey.ok || !merchantKey.ok || !to.ok || !amount.ok || amount.value === 0n || amount.value > AMOUNT_MAX) return MALFORMED;
  return taken({ kind: 'refund', token, refundKey: refundKey.value, merchantKey: merchantKey.value, to: to.value, amount: amount.value });
}

/**
 * The operation must hash to what its sender and our caller know it by, and must fit into one transaction with all the gas that it
 * reserves (EIP-7825), whatever it will use. An EIP-7702 sender's hash needs its delegate, which only the chain knows: there
 * the caller's hash stands until the entry point logs it.
 */
function userOperationOf({ entryPoint, userOperationHash: hash, operation: wire }: UserOperationIntent, chain: AdmissionChain): Shape {
  const address = parseEvmAddress(entryPoint);
  const known = address.ok ? chain.entryPoints?.find((candidate) => candidate.address === address.value) : undefined;
  if (known === undefined) return refuse(IntentReason.INTENT_REASON_NOT_ALLOWED);
  const operation = operationOf(wire);
  const given = parseBytes32(hash);
  if (operation === undefined || !given.ok) return MALFORMED;
  const delegated = known.version === '0.8' && operation.factory === EIP7702_FACTORY;
  if (!delegated && userOperationHash(operation, { entryPoint: known.address, version: known.version, chainId: eip155Number(chain.chainId) }) !== given.value) return MALFORMED;
  const call: UserOperationCall = { kind: 'userOperation', entryPoint: known.address, version: known.version, userOperationHash: given.value, operation };
  return gasLimitOf([call], GAS_MODEL) > TRANSACTION_GAS_MAX ? refuse(IntentReason.INTENT_REASON_GAS_ANOMALY) : taken(call);
}

function operationOf(wire: UserOperationIntent['operation']): UserOperation | undefined {
  if (wire === undefined) return undefined;
  const sender = parseEvmAddress(wire.sender);
  const nonce = quantityOf(wire.nonce, UINT256_MAX);
  const callData = bytesOf(wire.callData, CALL_DATA_BYTES_MAX);
  const factoryData = bytesOf(wire.factoryData, FACTORY_DATA_BYTES_MAX);
  const paymasterData = bytesOf(wire.paymasterData, PAYMASTER_DATA_BYTES_MAX);
  const signature = bytesOf(wire.signature, SIGNATURE_BYTES_MAX);
  const factory = wire.factory === '' ? undefined : parseEvmAddress(wire.factory);
  const paymaster = wire.paymaster === '' ? undefined : parseEvmAddress(wire.paymaster);
  const gas = [
    wire.callGasLimit,
    wire.verificationGasLimit,
    wire.preVerificationGas,
    wire.feePerGasWeiMax,
    wire.priorityFeePerGasWeiMax,
    wire.paymasterVerificationGasLimit === '' ? '0' : wire.paymasterVerificationGasLimit,
    wire.paymasterPostOpGasLimit === '' ? '0' : wire.paymasterPostOpGasLimit,
  ].map((text) => quantityOf(text, GAS_FIELD_MAX));
  const [callGasLimit, verificationGasLimit, preVerificationGas, feePerGasWeiMax, priorityFeePerGasWeiMax, paymasterVerificationGasLimit, paymasterPostOpGasLimit] = gas;
  if (!sender.ok || nonce === undefined || factory?.ok === false || paymaster?.ok === false) return undefined;
  if (callData === undefined || factoryData === undefined || paymasterData === undefined || signature === undefined) return undefined;
  if (callGasLimit === undefined || verificationGasLimit === undefined || preVerificationGas === undefined || feePerGasWeiMax === undefined) return undefined;
  if (priorityFeePerGasWeiMax === undefined || paymasterVerificationGasLimit === undefined || paymasterPostOpGasLimit === undefined) return undefined;
  // Data without the contract that it is for would not survive packing: the hash would cover something else.
  if (factory === undefined && factoryData.length > 2) return undefined;
  if (paymaster === undefined && (paymasterData.length > 2 || paymasterVerificationGasLimit > 0n || paymasterPostOpGasLimit > 0n)) return undefined;
  return {
    sender: sender.value,
    nonce,
    ...(factory === undefined ? {} : { factory: factory.value }),
    factoryData,
    callData,
    callGasLimit,
    verificationGasLimit,
    preVerificationGas,
    feePerGasWeiMax,
    priorityFeePerGasWeiMax,
    ...(paymaster === undefined ? {} : { paymaster: paymaster.value }),
    paymasterVerificationGasLimit,
    paymasterPostOpGasLimit,
    paymasterData,
    signature,
  };
}

function topUpOf({ to, amountWei }: TopUpIntent): Shape {
  const address = parseEvmAddress(to);
  const amount = quantityOf(amountWei, TOP_UP_WEI_MAX);
  return address.ok && amount !== undefined && amount > 0n ? taken({ kind: 'topUp', to: address.value, amountWei: amount }) : MALFORMED;
}

/** Decimal digits only; `undefined` beyond the maximum. */
function quantityOf(text: string, max: bigint): bigint | undefined {
  if (!/^(?:0|[1-9][0-9]{0,77})$/.test(text)) return undefined;
  const value = BigInt(text);
  return value <= max ? value : undefined;
}

import { parseEvmAddress, parseHexBytes, type EvmAddress, type HexBytes } from '@settlement/kernel/address';
import type { InputIssue } from '@settlement/kernel/errors';
import { quantity } from './hex';
import { EIP7702_FACTORY, type UserOperation } from './user-operation';

/**
 * User operations as JSON-RPC carries them (ERC-4337 for entry points v0.7 and later, ERC-7677, ERC-7769): quantities as 0x
 * hex, absent fields left out.
 */

/** Which fields a method can do without: before an estimate there are no gas figures, before signing no signature. */
export interface MissingAllowed {
  readonly gas?: boolean;
  readonly fees?: boolean;
  readonly signature?: boolean;
}

export type ParsedOperation =
  | { readonly ok: true; readonly operation: UserOperation }
  | { readonly ok: false; readonly issues: readonly InputIssue[] };

/** The bytes of all data fields together; more than any wallet sends, less than what would crowd a block. */
const DATA_BYTES_MAX = 64 * 1024;
/** Entry points take gas figures and fees below 2^120. */
const FIGURE_MAX = 2n ** 120n - 1n;
const FIELDS = new Set([
  'sender', 'nonce', 'factory', 'factoryData', 'callData', 'callGasLimit', 'verificationGasLimit', 'preVerificationGas', 'maxFeePerGas', 'maxPriorityFeePerGas',
  'paymaster', 'paymasterVerificationGasLimit', 'paymasterPostOpGasLimit', 'paymasterData', 'signature', 'eip7702Auth',
]);

class FieldReader {
  readonly issues: InputIssue[] = [];

  constructor(private readonly fields: Readonly<Record<string, unknown>>) {}

  has(name: string): boolean {
    const value = this.fields[name];
    return value !== undefined && value !== null;
  }

  address(name: string): EvmAddress | undefined {
    const value = this.fields[name];
    const address = parseEvmAddress(value);
    if (address.ok) return address.value;
    this.issues.push({ path: name, message: 'expected an address: 0x and 40 hex digits' });
    return undefined;
  }

  /** EIP-7702 operations name their factory by the marker alone. */
  factory(name: string): EvmAddress | undefined {
    const value = this.fields[name];
    return value === '0x7702' ? EIP7702_FACTORY : this.address(name);
  }

  bytes(name: string, required: boolean): HexBytes {
    if (!required && !this.has(name)) return '0x' as HexBytes;
    const bytes = parseHexBytes(this.fields[name]);
    if (bytes.ok) return bytes.value;
    this.issues.push({ path: name, message: 'expected bytes: 0x and an even number of hex digits' });
    return '0x' as HexBytes;
  }

  quantity(name: string, required: boolean, max = FIGURE_MAX): bigint {
    const value = this.fields[name];
    if (!required && !this.has(name)) return 0n;
    // A leading zero is against the letter of the rule, but several wallets send one.
    if (typeof value === 'string' && /^0x[0-9a-fA-F]{1,64}$/.test(value)) {
      const figure = BigInt(value);
      if (figure <= max) return figure;
    }
    this.issues.push({ path: name, message: max === FIGURE_MAX ? 'expected a quantity in 0x hex below 2^120' : 'expected a quantity in 0x hex' });
    return 0n;
  }
}

/** `path` of an issue is the field's name. Unknown fields are refused: a misspelt gas limit would count as absent. */
export function parseUserOperation(value: unknown, missing: MissingAllowed = {}): ParsedOperation {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { ok: false, issues: [{ path: '', message: 'expected a user operation object' }] };
  const fields = value as Readonly<Record<string, unknown>>;
  const reader = new FieldReader(fields);
  if (reader.has('initCode') || reader.has('paymasterAndData')) {
    return { ok: false, issues: [{ path: '', message: 'initCode and paymasterAndData belong to entry point v0.6; send factory, factoryData, paymaster and paymasterData' }] };
  }
  for (const name of Object.keys(fields)) if (!FIELDS.has(name)) reader.issues.push({ path: name, message: 'is not a field of a user operation of entry point v0.7 or later' });
  if (reader.has('eip7702Auth')) reader.issues.push({ path: 'eip7702Auth', message: 'delegations are not carried by this service: delegate the account first, then send its operations without eip7702Auth' });
  const sender = reader.address('sender');
  const factory = reader.has('factory') && fields['factory'] !== '0x' ? reader.factory('factory') : undefined;
  const paymaster = reader.has('paymaster') && fields['paymaster'] !== '0x' ? reader.address('paymaster') : undefined;
  const gas = missing.gas !== true;
  const fees = missing.fees !== true;
  const operation: Omit<UserOperation, 'sender'> = {
    nonce: reader.quantity('nonce', true, 2n ** 256n - 1n),
    ...(factory === undefined ? {} : { factory }),
    factoryData: reader.bytes('factoryData', false),
    callData: reader.bytes('callData', true),
    callGasLimit: reader.quantity('callGasLimit', gas),
    verificationGasLimit: reader.quantity('verificationGasLimit', gas),
    preVerificationGas: reader.quantity('preVerificationGas', gas),
    feePerGasWeiMax: reader.quantity('maxFeePerGas', fees),
    priorityFeePerGasWeiMax: reader.quantity('maxPriorityFeePerGas', fees),
    ...(paymaster === undefined ? {} : { paymaster }),
    paymasterVerificationGasLimit: reader.quantity('paymasterVerificationGasLimit', false),
    paymasterPostOpGasLimit: reader.quantity('paymasterPostOpGasLimit', false),
    paymasterData: reader.bytes('paymasterData', false),
    signature: reader.bytes('signature', missing.signature !== true),
  };
  const bytes = (operation.factoryData.length + operation.callData.length + operation.paymasterData.length + operation.signature.length) / 2;
  if (bytes > DATA_BYTES_MAX) reader.issues.push({ path: '', message: `expected at most ${DATA_BYTES_MAX} bytes of data` });
  if (factory === undefined && operation.factoryData.length > 2) reader.issues.push({ path: 'factoryData', message: 'needs a factory' });
  if (operation.priorityFeePerGasWeiMax > operation.feePerGasWeiMax && fees) reader.issues.push({ path: 'maxPriorityFeePerGas', message: 'expected at most maxFeePerGas' });
  if (sender === undefined || reader.issues.length > 0) return { ok: false, issues: reader.issues.slice(0, 20) };
  return { ok: true, operation: { sender, ...operation } };
}

/** What clients get back from `eth_getUserOperationByHash`. */
export function userOperationToJson(operation: UserOperation): Readonly<Record<string, string>> {
  const { factory, paymaster } = operation;
  return {
    sender: operation.sender,
    nonce: quantity(operation.nonce),
    ...(factory === undefined ? {} : { factory, factoryData: operation.factoryData }),
    callData: operation.callData,
    callGasLimit: quantity(operation.callGasLimit),
    verificationGasLimit: quantity(operation.verificationGasLimit),
    preVerificationGas: quantity(operation.preVerificationGas),
    maxFeePerGas: quantity(operation.feePerGasWeiMax),
    maxPriorityFeePerGas: quantity(operation.priorityFeePerGasWeiMax),
    ...(paymaster === undefined
      ? {}
      : {
          paymaster,
          paymasterVerificationGasLimit: quantity(operation.paymasterVerificationGasLimit),
          paymasterPostOpGasLimit: quantity(operation.paymasterPostOpGasLimit),
          paymasterData: operation.paymasterData,
        }),
    signature: operation.signature,
  };
}

/** The same with decimal strings, as `settlement.relayer.v1.UserOperation` has it; an absent factory or paymaster is empty. */
export interface UserOperationMessage {
  readonly sender: string;
  readonly nonce: string;
  readonly factory: string;
  readonly factoryData: string;
  readonly callData: string;
  readonly callGasLimit: string;
  readonly verificationGasLimit: string;
  readonly preVerificationGas: string;
  readonly feePerGasWeiMax: string;
  readonly priorityFeePerGasWeiMax: string;
  readonly paymaster: string;
  readonly paymasterVerificationGasLimit: string;
  readonly paymasterPostOpGasLimit: string;
  readonly paymasterData: string;
  readonly signature: string;
}

export function userOperationToMessage(operation: UserOperation): UserOperationMessage {
  return {
    sender: operation.sender,
    nonce: operation.nonce.toString(),
    factory: operation.factory ?? '',
    factoryData: operation.factoryData,
    callData: operation.callData,
    callGasLimit: operation.callGasLimit.toString(),
    verificationGasLimit: operation.verificationGasLimit.toString(),
    preVerificationGas: operation.preVerificationGas.toString(),
    feePerGasWeiMax: operation.feePerGasWeiMax.toString(),
    priorityFeePerGasWeiMax: operation.priorityFeePerGasWeiMax.toString(),
    paymaster: operation.paymaster ?? '',
    paymasterVerificationGasLimit: operation.paymasterVerificationGasLimit.toString(),
    paymasterPostOpGasLimit: operation.paymasterPostOpGasLimit.toString(),
    paymasterData: operation.paymasterData,
    signature: operation.signature,
  };
}

/** Of a message that this system wrote itself; a malformed figure throws. */
export function userOperationFromMessage(message: UserOperationMessage): UserOperation {
  return {
    sender: message.sender as EvmAddress,
    nonce: BigInt(message.nonce),
    ...(message.factory === '' ? {} : { factory: message.factory as EvmAddress }),
    factoryData: message.factoryData as HexBytes,
    callData: message.callData as HexBytes,
    callGasLimit: BigInt(message.callGasLimit),
    verificationGasLimit: BigInt(message.verificationGasLimit),
    preVerificationGas: BigInt(message.preVerificationGas),
    feePerGasWeiMax: BigInt(message.feePerGasWeiMax),
    priorityFeePerGasWeiMax: BigInt(message.priorityFeePerGasWeiMax),
    ...(message.paymaster === '' ? {} : { paymaster: message.paymaster as EvmAddress }),
    paymasterVerificationGasLimit: BigInt(message.paymasterVerificationGasLimit),
    paymasterPostOpGasLimit: BigInt(message.paymasterPostOpGasLimit),
    paymasterData: message.paymasterData as HexBytes,
    signature: message.signature as HexBytes,
  };
}

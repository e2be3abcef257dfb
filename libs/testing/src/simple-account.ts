import { randomBytes } from 'node:crypto';
import { addressWord, fromHex, toHex, uintHex, wordAddress } from '@settlement/chain/hex';
import { addressOfPrivateKey, packSignature, signDigest } from '@settlement/chain/native-secp256k1';
import type { JsonRpc } from '@settlement/chain/rpc';
import { userOperationHash, type EntryPointVersion, type UserOperation } from '@settlement/chain/user-operation';
import { userOperationToJson } from '@settlement/chain/user-operation-json';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { id, keccak256 } from 'ethers';

export interface AccountPlace {
  readonly rpc: JsonRpc;
  readonly chainId: bigint;
  readonly entryPoint: { readonly address: EvmAddress; readonly version: EntryPointVersion; readonly accountFactory: EvmAddress };
}

export interface RpcAnswer {
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: { readonly reason?: string; readonly [fact: string]: unknown } };
}

/** One JSON-RPC request as a wallet would send it; answers result or error as they came. */
export async function askJsonRpc(url: string, method: string, params: readonly unknown[], headers: Readonly<Record<string, string>> = {}): Promise<RpcAnswer> {
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }) });
  return (await response.json()) as RpcAnswer;
}

const selector = (signature: string): string => id(signature).slice(2, 10);
const quantityOf = (value: unknown): bigint => BigInt(String(value));
const words = (data: string): string => data.padEnd(Math.ceil(data.length / 64) * 64, '0');

/** A SimpleAccount of a fresh key, field by field: for tests that send what no honest wallet would. */
export class SimpleAccountUnderTest {
  private constructor(
    private readonly place: AccountPlace,
    private readonly key: Uint8Array,
    readonly address: EvmAddress,
    private readonly factoryData: HexBytes,
  ) {}

  static async create(place: AccountPlace, key: Uint8Array = new Uint8Array(randomBytes(32))): Promise<SimpleAccountUnderTest> {
    const owner = addressOfPrivateKey(key);
    const args = `${addressWord(owner)}${uintHex(0n, 32)}`;
    const found = await place.rpc.call('eth_call', [{ to: place.entryPoint.accountFactory, data: `0x${selector('getAddress(address,uint256)')}${args}` }, 'latest']);
    return new SimpleAccountUnderTest(place, key, wordAddress(String(found)), `0x${selector('createAccount(address,uint256)')}${args}` as HexBytes);
  }

  /** `execute(to, 0, data)`. */
  static execute(to: EvmAddress, data: string): HexBytes {
    const bytes = data.slice(2);
    return `0x${selector('execute(address,uint256,bytes)')}${addressWord(to)}${uintHex(0n, 32)}${uintHex(96n, 32)}${uintHex(BigInt(bytes.length / 2), 32)}${words(bytes)}` as HexBytes;
  }

  /** Next in order, with fees of twice the base fee; gas figures are still 0. */
  async draft(callData: HexBytes): Promise<UserOperation> {
    const { rpc, entryPoint } = this.place;
    const [code, nonce, block] = await Promise.all([
      rpc.call('eth_getCode', [this.address, 'latest']),
      rpc.call('eth_call', [{ to: entryPoint.address, data: `0x${selector('getNonce(address,uint192)')}${addressWord(this.address)}${uintHex(0n, 32)}` }, 'latest']),
      rpc.call('eth_getBlockByNumber', ['latest', false]),
    ]);
    const { baseFeePerGas } = block as { readonly baseFeePerGas: string };
    const priority = 1_000_000_000n;
    return {
      sender: this.address,
      nonce: quantityOf(nonce),
      ...(code === '0x' ? { factory: entryPoint.accountFactory } : {}),
      factoryData: (code === '0x' ? this.factoryData : '0x') as HexBytes,
      callData,
      callGasLimit: 0n,
      verificationGasLimit: 0n,
      preVerificationGas: 0n,
      feePerGasWeiMax: quantityOf(baseFeePerGas) * 2n + priority,
      priorityFeePerGasWeiMax: priority,
      paymasterVerificationGasLimit: 0n,
      paymasterPostOpGasLimit: 0n,
      paymasterData: '0x' as HexBytes,
      signature: this.stubSignature(),
    };
  }

  stubSignature(): HexBytes {
    return `0x${'fffffffffffffffffffffffffffffff0'.padEnd(64, '0')}${'7'.padEnd(64, 'a')}1c` as HexBytes;
  }

  hashOf(operation: UserOperation): string {
    const { chainId, entryPoint } = this.place;
    return userOperationHash(operation, { entryPoint: entryPoint.address, version: entryPoint.version, chainId });
  }

  /** v0.8 signs the EIP-712 hash itself, v0.7 the hash as a personal message. */
  sign(operation: UserOperation): UserOperation {
    const hash = this.hashOf(operation);
    const digest = this.place.entryPoint.version === '0.8' ? hash : keccak256(`0x${Buffer.from('\x19Ethereum Signed Message:\n32').toString('hex')}${hash.slice(2)}`);
    return { ...operation, signature: toHex(packSignature(signDigest(fromHex(digest), this.key))) };
  }

  /** As `pm_getPaymasterData` and `eth_estimateUserOperationGas` answer them. */
  static withFields(operation: UserOperation, fields: unknown): UserOperation {
    const given = fields as Readonly<Record<string, string | undefined>>;
    const figure = (name: string, before: bigint): bigint => (given[name] === undefined ? before : BigInt(given[name]));
    return {
      ...operation,
      callGasLimit: figure('callGasLimit', operation.callGasLimit),
      verificationGasLimit: figure('verificationGasLimit', operation.verificationGasLimit),
      preVerificationGas: figure('preVerificationGas', operation.preVerificationGas),
      paymasterVerificationGasLimit: figure('paymasterVerificationGasLimit', operation.paymasterVerificationGasLimit),
      paymasterPostOpGasLimit: figure('paymasterPostOpGasLimit', operation.paymasterPostOpGasLimit),
      ...(given['paymaster'] === undefined ? {} : { paymaster: given['paymaster'] as EvmAddress }),
      ...(given['paymasterData'] === undefined ? {} : { paymasterData: given['paymasterData'] as HexBytes }),
    };
  }

  static json = userOperationToJson;
}

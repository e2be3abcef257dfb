import { randomBytes } from 'node:crypto';
import { authorizationDigest, domainSeparator, signAuthorization } from '@settlement/chain/eip3009';
import { fromHex, toHex } from '@settlement/chain/hex';
import { addressOfPrivateKey, packSignature, signDigest } from '@settlement/chain/native-secp256k1';
import { encodePaymasterData, keyOf, PAYMASTER_POST_OP_GAS, PAYMASTER_VERIFICATION_GAS, signSponsorship } from '@settlement/chain/sponsor-paymaster';
import { costWeiMaxOf, userOperationHash, type EntryPointVersion, type UserOperation } from '@settlement/chain/user-operation';
import { ownedWalletFactoryAbi } from '@settlement/contracts/generated/OwnedWalletFactory';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { DEV_SPONSOR_SIGNER_KEY } from '@settlement/local-stack/deploy-accounts';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { PERMIT2 } from '@settlement/testing/permit2';
import { hashMessage, Interface, Wallet, type InterfaceAbi } from 'ethers';
import { randomKey32, type Payer, type RelayerWorld } from './relayer-world';

/** Requests of the kinds that call something else than the vault. */

const factoryInterface = new Interface(ownedWalletFactoryAbi as unknown as InterfaceAbi);
const accountInterface = new Interface(['function createAccount(address,uint256)', 'function getAddress(address,uint256) view returns (address)', 'function execute(address,uint256,bytes)']);

export function frameOf(world: RelayerWorld): Omit<SubmitRequest, 'kind'> {
  const id = `int_${randomBytes(8).toString('hex')}`;
  return {
    intentId: id,
    chainId: `eip155:${world.chain.chainId}`,
    subjectId: id.replace('int_', 'pay_'),
    screeningId: id.replace('int_', 'scr_'),
    sponsorId: 'spo_1',
    reservationId: id.replace('int_', 'rsv_'),
  };
}

export interface TransferOptions {
  readonly payer: Payer;
  readonly to: EvmAddress;
  readonly value?: bigint;
  readonly nonce?: Bytes32;
  readonly validBeforeS?: bigint;
  /** Another key signs than the payer's. */
  readonly forger?: Payer;
  /** The payer is a wallet that this factory makes for the key. */
  readonly wallet?: { readonly address: EvmAddress; readonly factoryData: HexBytes };
}

export function transfer(world: RelayerWorld, { payer, to, value = 1_000_000n, nonce = randomKey32(), validBeforeS, forger, wallet }: TransferOptions): SubmitRequest {
  const message = { from: wallet?.address ?? payer.address, to, value: value as TokenUnits, validAfter: 0n, validBefore: validBeforeS ?? BigInt(Math.floor(Date.now() / 1000)) + 86_400n, nonce };
  const separator = domainSeparator(world.chain.usdcDomain);
  const key = (forger ?? payer).key;
  const signature =
    wallet === undefined
      ? signAuthorization('TransferWithAuthorization', separator, message, key)
      : `0x00${toHex(packSignature(signDigest(authorizationDigest('TransferWithAuthorization', separator, message), key))).slice(2)}`;
  return {
    ...frameOf(world),
    kind: {
      $case: 'transfer',
      value: {
        token: 'USDC',
        authorization: { from: message.from, to, valueMinor: value.toString(), validAfter: 0n, validBefore: message.validBefore, nonce, signature },
        factory: wallet === undefined ? '' : world.chain.walletFactory,
        factoryData: wallet?.factoryData ?? '',
      },
    },
  };
}

/** As the npm package of x402 states them. */
const PERMIT_TYPES = {
  PermitWitnessTransferFrom: [
    { name: 'permitted', type: 'TokenPermissions' },
    { name: 'spender', type: 'address' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
    { name: 'witness', type: 'Witness' },
  ],
  TokenPermissions: [
    { name: 'token', type: 'address' },
    { name: 'amount', type: 'uint256' },
  ],
  Witness: [
    { name: 'to', type: 'address' },
    { name: 'validAfter', type: 'uint256' },
  ],
};

/** The owner has approved Permit2. */
export async function permit2Transfer(world: RelayerWorld, { payer, to, amount = 1_000_000n }: { readonly payer: Payer; readonly to: EvmAddress; readonly amount?: bigint }): Promise<SubmitRequest> {
  const [nonce, deadline] = [BigInt(randomKey32()), BigInt(Math.floor(Date.now() / 1000)) + 3_600n];
  const wallet = new Wallet(toHex(payer.key));
  const signature = await wallet.signTypedData({ name: 'Permit2', chainId: world.chain.chainId, verifyingContract: PERMIT2 }, PERMIT_TYPES, {
    permitted: { token: world.chain.usdc, amount },
    spender: world.chain.permit2Proxy,
    nonce,
    deadline,
    witness: { to, validAfter: 0n },
  });
  return { ...frameOf(world), kind: { $case: 'permit2Transfer', value: { token: 'USDC', owner: payer.address, to, amountMinor: amount.toString(), nonce: nonce.toString(), deadline, validAfter: 0n, signature } } };
}

async function addressAnswer(world: RelayerWorld, to: EvmAddress, data: string): Promise<EvmAddress> {
  return `0x${String(await world.rpc.call('eth_call', [{ to, data }, 'latest'])).slice(-40)}` as EvmAddress;
}

/** An ERC-1271 wallet of this key that is not deployed yet and holds money. */
export async function walletOf(world: RelayerWorld, { address: owner }: Payer): Promise<{ readonly address: EvmAddress; readonly factoryData: HexBytes }> {
  const salt = randomKey32();
  const address = await addressAnswer(world, world.chain.walletFactory, factoryInterface.encodeFunctionData('addressOf', [owner, salt]));
  await world.chain.mint(address, 100_000_000n);
  return { address, factoryData: factoryInterface.encodeFunctionData('create', [owner, salt]) as HexBytes };
}

export interface OperationOptions {
  readonly version: EntryPointVersion;
  readonly owner: Payer;
  readonly nonce?: bigint;
  /** What the account executes; a call to nobody unless given. */
  readonly call?: { readonly to: EvmAddress; readonly data: string };
  readonly deployed?: boolean;
  /** Nobody signs for the account. */
  readonly unsigned?: boolean;
}

/** A sponsored operation of a sample account, signed by its owner and by the paymaster's signer. */
export async function userOperation(world: RelayerWorld, { version, owner, nonce = 0n, call, deployed = false, unsigned = false }: OperationOptions): Promise<SubmitRequest> {
  const entryPoint = world.chain.entryPoints.find((it) => it.version === version);
  const paymaster = world.chain.sponsorPaymasters.find((it) => it.entryPoint === entryPoint?.address)?.address;
  if (entryPoint === undefined || paymaster === undefined) throw new RangeError('no such entry point');
  const chainId = BigInt(world.chain.chainId);
  const sender = await addressAnswer(world, entryPoint.accountFactory, accountInterface.encodeFunctionData('getAddress', [owner.address, 0]));
  const bare: UserOperation = {
    sender,
    nonce,
    ...(deployed ? {} : { factory: entryPoint.accountFactory }),
    factoryData: (deployed ? '0x' : accountInterface.encodeFunctionData('createAccount', [owner.address, 0])) as HexBytes,
    callData: accountInterface.encodeFunctionData('execute', [call?.to ?? owner.address, 0, call?.data ?? '0x']) as HexBytes,
    callGasLimit: 120_000n,
    verificationGasLimit: 400_000n,
    preVerificationGas: 60_000n,
    feePerGasWeiMax: 3_000_000_000n,
    priorityFeePerGasWeiMax: 1_000_000_000n,
    paymaster,
    paymasterVerificationGasLimit: PAYMASTER_VERIFICATION_GAS,
    paymasterPostOpGasLimit: PAYMASTER_POST_OP_GAS,
    paymasterData: '0x' as HexBytes,
    signature: '0x' as HexBytes,
  };
  const terms = {
    sponsorshipKey: keyOf(randomKey32()),
    sponsorKey: keyOf('spo_1'),
    validUntil: 4_000_000_000n,
    validAfter: 0n,
    caps: {
      verificationGasLimit: bare.verificationGasLimit,
      callGasLimit: bare.callGasLimit,
      preVerificationGas: bare.preVerificationGas,
      paymasterVerificationGasLimit: bare.paymasterVerificationGasLimit,
      paymasterPostOpGasLimit: bare.paymasterPostOpGasLimit,
      feePerGasWei: bare.feePerGasWeiMax,
      priorityFeePerGasWei: bare.priorityFeePerGasWeiMax,
    },
    costWeiMax: costWeiMaxOf(bare),
  };
  const granted = signSponsorship(bare, terms, { chainId, paymaster, entryPoint: entryPoint.address }, fromHex(DEV_SPONSOR_SIGNER_KEY));
  const operation: UserOperation = { ...bare, paymasterData: encodePaymasterData(terms, granted) };
  const hash = userOperationHash(operation, { entryPoint: entryPoint.address, version, chainId });
  // The sample account of v0.7 wants a personal message over the hash, that of v0.8 the hash itself.
  const digest = fromHex(version === '0.7' ? hashMessage(fromHex(hash)) : hash);
  const key = unsigned ? new Uint8Array(randomBytes(32)) : owner.key;
  const signature = toHex(packSignature(signDigest(digest, key)));
  return {
    ...frameOf(world),
    kind: {
      $case: 'userOperation',
      value: {
        entryPoint: entryPoint.address,
        userOperationHash: hash,
        operation: {
          sender,
          nonce: nonce.toString(),
          factory: operation.factory ?? '',
          factoryData: operation.factoryData,
          callData: operation.callData,
          callGasLimit: operation.callGasLimit.toString(),
          verificationGasLimit: operation.verificationGasLimit.toString(),
          preVerificationGas: operation.preVerificationGas.toString(),
          feePerGasWeiMax: operation.feePerGasWeiMax.toString(),
          priorityFeePerGasWeiMax: operation.priorityFeePerGasWeiMax.toString(),
          paymaster,
          paymasterVerificationGasLimit: operation.paymasterVerificationGasLimit.toString(),
          paymasterPostOpGasLimit: operation.paymasterPostOpGasLimit.toString(),
          paymasterData: operation.paymasterData,
          signature,
        },
      },
    },
  };
}

export const newPayer = (): Payer => {
  const key = new Uint8Array(randomBytes(32));
  return { key, address: addressOfPrivateKey(key) };
};

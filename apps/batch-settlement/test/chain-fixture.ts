import { merchantKey } from '@settlement/chain/merchant-key';
import { authorizationDigest, domainSeparator, type Eip3009Message } from '@settlement/chain/eip3009';
import { addressOfPrivateKey, packSignature, signDigest } from '@settlement/chain/native-secp256k1';
import { jsonRpc } from '@settlement/chain/rpc';
import { decodeSettle, encodeCollect, encodeRefund, encodeSettle, type PayoutItem, type RefundItem, type VaultLog } from '@settlement/chain/vault-codec';
import { toHex } from '@settlement/chain/hex';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { MerchantId } from '@settlement/kernel/ids';
import type { TokenUnits } from '@settlement/kernel/money';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { Interface } from 'ethers';
import { createHash } from 'node:crypto';
import { newId, type TestMerchant } from './ledger-fixture';

/** The first development keys of every anvil: public, never for value. */
const RELAYER = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266' as EvmAddress;
const OTHER = '0x70997970c51812dc3a010c7d01b50e0d17dc79c8' as EvmAddress;
const erc20 = new Interface(['function transfer(address,uint256)']);

export interface Place {
  readonly block: bigint;
  readonly hash: string;
}

export interface TestChain {
  readonly anvil: Anvil;
  readonly deployment: LocalDeployment;
  merchant(): TestMerchant;
  /** Collects one signed authorization of a fresh payer. */
  collect(merchant: TestMerchant, amount: bigint): Promise<Place>;
  settle(batchKey: string, payouts: readonly PayoutItem[]): Promise<Place & { readonly paid: readonly boolean[] }>;
  refund(item: RefundItem): Promise<Place>;
  /** A plain transfer of USDC into the vault, past all its books. */
  sendIntoVault(amount: bigint): Promise<Place>;
  mine(blocks: number): Promise<void>;
  stop(): Promise<void>;
}

/** A real node with the real USDC and the vault. */
export async function startChain(): Promise<TestChain> {
  const anvil = await startAnvil();
  const deployment = await deployLocal(anvil.rpcUrl, { admin: RELAYER, guardian: RELAYER, governor: RELAYER, epochKeeper: RELAYER, relayers: [RELAYER] });
  const rpc = jsonRpc(anvil.rpcUrl);
  const { usdc, vault, usdcDomain } = deployment;
  const separator = domainSeparator(usdcDomain);
  let payers = 0;

  async function receipt(hash: string): Promise<Place & { readonly logs: readonly VaultLog[] }> {
    const { blockNumber, logs } = (await rpc.call('eth_getTransactionReceipt', [hash])) as { blockNumber: string; logs: readonly VaultLog[] };
    return { block: BigInt(blockNumber), hash, logs };
  }

  return {
    anvil,
    deployment,
    merchant() {
      const merchantId = newId('mer');
      return { merchantId, merchantKey: merchantKey(merchantId as MerchantId), payoutAddress: toHex(createHash('sha256').update(merchantId).digest().subarray(0, 20)) };
    },
    async collect(merchant, amount) {
      payers += 1;
      const key = createHash('sha256').update(`test payer ${payers}`).digest();
      const message: Eip3009Message = {
        from: addressOfPrivateKey(key),
        to: vault,
        value: amount as TokenUnits,
        validAfter: 0n,
        validBefore: 4_000_000_000n,
        nonce: `0x${payers.toString(16).padStart(64, '0')}` as Bytes32,
      };
      await deployment.mint(message.from, amount);
      const signature = toHex(packSignature(signDigest(authorizationDigest('ReceiveWithAuthorization', separator, message), key))) as HexBytes;
      const data = encodeCollect(usdc, 1n, [{ merchantKey: merchant.merchantKey as Bytes32, authorization: message, signature }]);
      const { block, hash } = await receipt(await deployment.sendAs(RELAYER, vault, data));
      return { block, hash };
    },
    async settle(batchKey, payouts) {
      const hash = await deployment.sendAs(RELAYER, vault, encodeSettle(usdc, 1n, batchKey as Bytes32, payouts));
      const { block, logs } = await receipt(hash);
      return { block, hash, paid: decodeSettle(payouts, batchKey as Bytes32, vault, logs).map((o) => o.executed) };
    },
    async refund(item) {
      const { block, hash } = await receipt(await deployment.sendAs(RELAYER, vault, encodeRefund(usdc, 1n, [item])));
      return { block, hash };
    },
    async sendIntoVault(amount) {
      await deployment.mint(OTHER, amount);
      const { block, hash } = await receipt(await deployment.sendAs(OTHER, usdc, erc20.encodeFunctionData('transfer', [vault, amount])));
      return { block, hash };
    },
    async mine(blocks) {
      await rpc.call('anvil_mine', [`0x${blocks.toString(16)}`]);
    },
    stop: () => anvil.stop(),
  };
}

import { domainSeparator, signAuthorization, type Eip3009Message } from '@settlement/chain/eip3009';
import { addressWord, fromHex, toHex } from '@settlement/chain/hex';
import { addressOfPrivateKey, packSignature, signDigest } from '@settlement/chain/native-secp256k1';
import { authorizationDigest } from '@settlement/chain/eip3009';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { decodeTransfers, encodeTransfers, paidBy, transfersGasLimit, type TransferItem } from '@settlement/chain/transfers-codec';
import type { VaultLog } from '@settlement/chain/vault-codec';
import { fiatTokenV2_2Abi } from '@settlement/contracts/generated/FiatTokenV2_2';
import { ownedWalletFactoryAbi } from '@settlement/contracts/generated/OwnedWalletFactory';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { startAnvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { Interface, keccak256, toUtf8Bytes, type InterfaceAbi } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Keys and holders of this file only: made of their names.
const secret = (name: string): Uint8Array => fromHex(keccak256(toUtf8Bytes(`transfers test ${name}`)));
const holder = (name: string): EvmAddress => addressOfPrivateKey(secret(name));
const bytes32 = (name: string): Bytes32 => keccak256(toUtf8Bytes(name)) as Bytes32;
const usdcInterface = new Interface(fiatTokenV2_2Abi as unknown as InterfaceAbi);
const factoryInterface = new Interface(ownedWalletFactoryAbi as unknown as InterfaceAbi);

const RELAYER = holder('relayer');
const PAYEE = holder('payee');
const VALUE = 1_500_000n as TokenUnits;

let anvil: Awaited<ReturnType<typeof startAnvil>>;
let local: LocalDeployment;
let rpc: JsonRpc;

beforeAll(async () => {
  anvil = await startAnvil();
  rpc = jsonRpc(anvil.rpcUrl, { timeoutMs: 30_000 });
  local = await deployLocal(anvil.rpcUrl, { admin: holder('admin'), guardian: holder('guardian'), governor: holder('governor'), epochKeeper: holder('epoch keeper'), relayers: [RELAYER] });
});
afterAll(() => anvil.stop());

function message(from: EvmAddress, nonce: string): Eip3009Message {
  return { from, to: PAYEE, value: VALUE, validAfter: 0n, validBefore: 4_000_000_000n, nonce: bytes32(nonce) };
}

async function byKey(name: string, signer = name): Promise<TransferItem> {
  const authorization = message(holder(name), name);
  await local.mint(authorization.from, VALUE);
  return { authorization, signature: signAuthorization('TransferWithAuthorization', domainSeparator(local.usdcDomain), authorization, secret(signer)) };
}

/** A wallet that is not deployed yet and holds the money already. */
async function byWallet(name: string): Promise<TransferItem> {
  const salt = bytes32(`salt ${name}`);
  const data = factoryInterface.encodeFunctionData('addressOf', [holder(name), salt]);
  const wallet = `0x${String(await rpc.call('eth_call', [{ to: local.walletFactory, data }, 'latest'])).slice(-40)}` as EvmAddress;
  const authorization = message(wallet, name);
  await local.mint(wallet, VALUE);
  const digest = authorizationDigest('TransferWithAuthorization', domainSeparator(local.usdcDomain), authorization);
  const signature = `0x00${toHex(packSignature(signDigest(digest, secret(name)))).slice(2)}` as HexBytes;
  return { authorization, signature, deployment: { factory: local.walletFactory, factoryData: factoryInterface.encodeFunctionData('create', [holder(name), salt]) as HexBytes } };
}

async function send(items: readonly TransferItem[]): Promise<{ logs: readonly VaultLog[]; gasUsed: number }> {
  const hash = await local.sendAs(RELAYER, local.transfers, encodeTransfers(local.usdc, 0n, items));
  const receipt = (await rpc.call('eth_getTransactionReceipt', [hash])) as { logs: VaultLog[]; gasUsed: string };
  return { logs: receipt.logs, gasUsed: Number(receipt.gasUsed) };
}

const outcomes = (items: readonly TransferItem[], logs: readonly VaultLog[]) =>
  decodeTransfers(items, { transfers: local.transfers, token: local.usdc }, logs).map((outcome) => (outcome.executed ? 'paid' : outcome.reason));
const balance = async (who: EvmAddress): Promise<bigint> =>
  BigInt(String(await rpc.call('eth_call', [{ to: local.usdc, data: `0x70a08231${addressWord(who)}` }, 'latest'])));

describe('direct transfers on the real USDC', () => {
  it('pays what is good in a batch and names what is not', async () => {
    const wallet = await byWallet('wallet');
    const foreign = await byKey('front-run');
    const a = foreign.authorization;
    // A stranger executes one of them first, as anybody may.
    const frontRun = await local.sendAs(holder('stranger'), local.usdc, usdcInterface.encodeFunctionData('transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)', [a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, foreign.signature]));
    const stranger = { ...(await byWallet('unlisted')), deployment: { factory: local.usdc, factoryData: '0x' as HexBytes } };
    const items = [await byKey('one'), await byKey('two', 'forger'), foreign, wallet, stranger, await byKey('three')];
    const before = await balance(PAYEE);
    const { logs } = await send(items);
    expect(outcomes(items, logs)).toEqual(['paid', 'INTENT_REASON_INVALID_SIGNATURE', 'INTENT_REASON_AUTHORIZATION_USED', 'paid', 'INTENT_REASON_NOT_ALLOWED', 'paid']);
    expect(await balance(PAYEE)).toBe(before + 3n * VALUE);
    expect(await balance(local.transfers)).toBe(0n);
    const receipt = (await rpc.call('eth_getTransactionReceipt', [frontRun])) as { logs: VaultLog[] };
    expect(paidBy(a, local.usdc, receipt.logs)).toBe(true);
    expect(paidBy({ ...a, to: holder('somebody else') }, local.usdc, receipt.logs)).toBe(false);
    expect(paidBy({ ...a, value: 1n as TokenUnits }, local.usdc, receipt.logs)).toBe(false);
  });

  it('stays below its gas limit with a hundred bytes of signature and with a deployment', async () => {
    for (const items of [[await byKey('gas one')], [await byWallet('gas wallet')], await Promise.all(Array.from({ length: 20 }, (_, i) => byKey(`gas ${i}`)))]) {
      const { gasUsed, logs } = await send(items);
      expect(outcomes(items, logs).every((outcome) => outcome === 'paid')).toBe(true);
      expect(BigInt(gasUsed)).toBeLessThan(transfersGasLimit(items));
    }
  });

  it('is fenced by the vault\'s epoch and by the guardian', async () => {
    const items = [await byKey('fenced')];
    const call = encodeTransfers(local.usdc, 0n, items);
    await local.sendAs(holder('guardian'), local.transfers, '0x62a5af3b'); // freeze()
    await expect(local.sendAs(RELAYER, local.transfers, call)).rejects.toMatchObject({ code: 'LOCAL_TRANSACTION_REVERTED' });
    await local.sendAs(holder('governor'), local.transfers, '0x6a28f000'); // unfreeze()
    await local.sendAs(holder('epoch keeper'), local.vault, new Interface(['function raiseMinEpoch(uint64)']).encodeFunctionData('raiseMinEpoch', [1]));
    await expect(local.sendAs(RELAYER, local.transfers, call)).rejects.toMatchObject({ code: 'LOCAL_TRANSACTION_REVERTED' });
    await local.sendAs(RELAYER, local.transfers, encodeTransfers(local.usdc, 1n, items));
    await expect(local.sendAs(holder('stranger'), local.transfers, encodeTransfers(local.usdc, 1n, items))).rejects.toMatchObject({ code: 'LOCAL_TRANSACTION_REVERTED' });
  });
});

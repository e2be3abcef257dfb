import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { domainSeparator, signAuthorization, type Eip3009Message } from '@settlement/chain/eip3009';
import { isValidWalletSignature } from '@settlement/chain/erc1271';
import { addressOfPrivateKey, signTransaction } from '@settlement/chain/native-secp256k1';
import { jsonRpc, RpcRefused, type JsonRpc } from '@settlement/chain/rpc';
import {
  collectGasLimit,
  creditsOf,
  debitsOf,
  decodeCollect,
  decodeRefund,
  decodeSettle,
  decodeVaultRevert,
  encodeCollect,
  encodeRefund,
  encodeSettle,
  groupByMerchant,
  refundGasLimit,
  settleGasLimit,
  type CollectItem,
  type ItemOutcome,
  type PayoutItem,
  type VaultLog,
  type VaultReason,
} from '@settlement/chain/vault-codec';
import { asBoolean, asUnits, authorizationUsed, batchSettled, merchantBalance, refundPaid, tokenBalance } from '@settlement/chain/vault-views';
import { paymentVaultAbi } from '@settlement/contracts/generated/PaymentVault';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment, type LocalRoles } from '@settlement/local-stack/deploy';
import { Interface, keccak256, toUtf8Bytes, type InterfaceAbi } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const vaultInterface = new Interface(paymentVaultAbi as unknown as InterfaceAbi);
const bytes32 = (text: string): Bytes32 => keccak256(toUtf8Bytes(text)) as Bytes32;
const key = (text: string): Uint8Array => Buffer.from(bytes32(text).slice(2), 'hex');
const holder = (text: string): EvmAddress => `0x${bytes32(text).slice(-40)}` as EvmAddress;
const relayer = key('relayer');
const roles: LocalRoles = { admin: holder('admin'), guardian: holder('guardian'), governor: holder('governor'), epochKeeper: holder('epoch'), relayers: [addressOfPrivateKey(relayer)] };
const [shopA, shopB] = [bytes32('shop a'), bytes32('shop b')];
const units = (n: number): TokenUnits => BigInt(n) as TokenUnits;
const done: ItemOutcome = { executed: true };
const refused = (reason: VaultReason): ItemOutcome => ({ executed: false, reason });

describe('PaymentVault on the real USDC', () => {
  let anvil: Anvil;
  let rpc: JsonRpc;
  let local: LocalDeployment;
  let separator: Bytes32;
  let now: bigint;
  let nonce = 0;
  let serial = 0;
  const history: VaultLog[] = [];

  beforeAll(async () => {
    anvil = await startAnvil();
    rpc = jsonRpc(anvil.rpcUrl);
    local = await deployLocal(anvil.rpcUrl, roles);
    separator = domainSeparator(local.usdcDomain);
    await rpc.call('anvil_setBalance', [addressOfPrivateKey(relayer), '0xd3c21bcecceda1000000']);
    now = BigInt(((await rpc.call('eth_getBlockByNumber', ['latest', false])) as { timestamp: string }).timestamp);
  });

  afterAll(async () => {
    await anvil.stop();
  });

  async function send(data: HexBytes, gasLimit: bigint): Promise<readonly VaultLog[]> {
    const { raw } = signTransaction({ type: 2, chainId: anvil.chainId, nonce, to: local.vault, data, gasLimit, value: 0n, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n }, relayer);
    nonce += 1;
    const receipt = (await rpc.call('eth_sendRawTransactionSync', [raw])) as { status: string; logs: VaultLog[] };
    expect(receipt.status).toBe('0x1');
    history.push(...receipt.logs);
    return receipt.logs;
  }

  async function revertOf(data: HexBytes, from: EvmAddress = addressOfPrivateKey(relayer)): Promise<ReturnType<typeof decodeVaultRevert>> {
    const error: unknown = await rpc.call('eth_call', [{ from, to: local.vault, data }, 'latest']).then(() => undefined, (e: unknown) => e);
    expect(error).toBeInstanceOf(RpcRefused);
    return decodeVaultRevert(String((error as RpcRefused).refusal.data));
  }

  /** A payer of their own with twice the money, unless `over` says otherwise. */
  async function payment(merchantKey: Bytes32, value: number, over: Partial<Eip3009Message> = {}, signer?: Uint8Array): Promise<CollectItem> {
    serial += 1;
    const payer = key(`payer ${serial}`);
    const authorization: Eip3009Message = {
      from: addressOfPrivateKey(payer),
      to: local.vault,
      value: units(value),
      validAfter: 0n,
      validBefore: now + 86_400n,
      nonce: bytes32(`nonce ${serial}`),
      ...over,
    };
    await local.mint(addressOfPrivateKey(payer), BigInt(value) * 2n);
    return { merchantKey, authorization, signature: signAuthorization('ReceiveWithAuthorization', separator, authorization, signer ?? payer) };
  }

  const collect = async (items: readonly CollectItem[]): Promise<ItemOutcome[]> =>
    decodeCollect(items, { vault: local.vault, token: local.usdc }, await send(encodeCollect(local.usdc, 0n, items), collectGasLimit(items.length)));
  const settle = async (batch: Bytes32, payouts: readonly PayoutItem[]): Promise<ItemOutcome[]> =>
    decodeSettle(payouts, batch, local.vault, await send(encodeSettle(local.usdc, 0n, batch, payouts), settleGasLimit(payouts.length)));
  const balance = async (merchantKey: Bytes32): Promise<bigint> => asUnits((await rpc.batch([merchantBalance(local.vault, local.usdc, merchantKey, 'latest')])).map((a) => (a.ok ? a.result : a.error))[0]);

  it('collects good payments around bad ones and names why each bad one failed', async () => {
    const used = await payment(shopB, 11);
    expect(await collect([used])).toEqual([done]);
    const blacklisted = await payment(shopB, 12);
    await local.blacklist(blacklisted.authorization.from);
    const items = groupByMerchant([
      await payment(shopA, 100),
      await payment(shopB, 200),
      await payment(shopA, 1, { validBefore: now - 10n }),
      await payment(shopA, 2, { validAfter: now + 80_000n }),
      used,
      await payment(shopA, 3, {}, key('a forger')),
      await payment(shopB, 4, { value: units(9) }),
      blacklisted,
      await payment(shopA, 5),
    ]);
    const byNonce = new Map((await collect(items)).map((outcome, i) => [items[i]?.authorization.value, outcome]));
    expect(Object.fromEntries([...byNonce].map(([value, outcome]) => [String(value), outcome.executed ? 'executed' : outcome.reason]))).toEqual({
      100: 'executed',
      200: 'executed',
      1: 'INTENT_REASON_AUTHORIZATION_EXPIRED',
      2: 'INTENT_REASON_AUTHORIZATION_NOT_YET_VALID',
      11: 'INTENT_REASON_AUTHORIZATION_USED',
      3: 'INTENT_REASON_INVALID_SIGNATURE',
      9: 'INTENT_REASON_INSUFFICIENT_FUNDS',
      12: 'INTENT_REASON_BLACKLISTED',
      5: 'executed',
    });
    expect(await balance(shopA)).toBe(105n);
    expect(await balance(shopB)).toBe(211n);
    const [answer] = await rpc.batch([authorizationUsed(local.usdc, used.authorization.from, used.authorization.nonce, 'latest')]);
    expect(answer?.ok === true && asBoolean(answer.result)).toBe(true);
  });

  it('reports a paused token for each payment and collects them afterwards', async () => {
    const items = [await payment(shopA, 7), await payment(shopA, 8)];
    await local.pauseUsdc();
    expect(await collect(items)).toEqual([refused('INTENT_REASON_TOKEN_PAUSED'), refused('INTENT_REASON_TOKEN_PAUSED')]);
    await local.unpauseUsdc();
    expect(await collect(items)).toEqual([done, done]);
    expect(await balance(shopA)).toBe(120n);
  });

  it('pays a batch, keeps failed payouts with their merchants, and never pays the batch again', async () => {
    const batch = bytes32('batch 1');
    const blocked = holder('blocked payee');
    await local.blacklist(blocked);
    const payouts: PayoutItem[] = [
      { merchantKey: shopA, to: holder('payee 1'), amount: units(20) },
      { merchantKey: shopA, to: blocked, amount: units(30) },
      { merchantKey: shopA, to: holder('payee 2'), amount: units(101) },
      { merchantKey: shopB, to: holder('payee 2'), amount: units(211) },
    ];
    expect(await settle(batch, payouts)).toEqual([done, refused('INTENT_REASON_BLACKLISTED'), refused('INTENT_REASON_INSUFFICIENT_MERCHANT_BALANCE'), done]);
    expect([await balance(shopA), await balance(shopB)]).toEqual([100n, 0n]);
    expect(await revertOf(encodeSettle(local.usdc, 0n, batch, payouts))).toEqual({ name: 'BatchAlreadySettled', reason: 'INTENT_REASON_DUPLICATE' });
    const [settled] = await rpc.batch([batchSettled(local.vault, batch, 'latest')]);
    expect(settled?.ok === true && asBoolean(settled.result)).toBe(true);
  });

  it('refunds once, and tells a second time from a first', async () => {
    const refunds = ['one', 'one', 'two'].map((id, i) => ({ refundKey: bytes32(`refund ${id}`), merchantKey: shopA, to: holder('payer'), amount: units(i === 2 ? 1_000 : 40) }));
    const logs = await send(encodeRefund(local.usdc, 0n, refunds), refundGasLimit(refunds.length));
    expect(decodeRefund(refunds, local.vault, logs)).toEqual([done, refused('INTENT_REASON_DUPLICATE'), refused('INTENT_REASON_INSUFFICIENT_MERCHANT_BALANCE')]);
    expect(await balance(shopA)).toBe(60n);
    const [paid] = await rpc.batch([refundPaid(local.vault, bytes32('refund one'), 'latest')]);
    expect(paid?.ok === true && asBoolean(paid.result)).toBe(true);
  });

  it('lets the balances be rebuilt from logs alone', async () => {
    const rebuilt = new Map<string, bigint>();
    const add = (merchantKey: string, amount: bigint): void => void rebuilt.set(merchantKey, (rebuilt.get(merchantKey) ?? 0n) + amount);
    for (const run of creditsOf({ vault: local.vault, token: local.usdc }, history)) add(run.merchantKey, run.amount);
    for (const run of debitsOf(local.vault, bytes32('batch 1'), history) ?? []) add(run.merchantKey, -run.amount);
    add(shopA, -40n); // Refunded is a log of its own per refund
    expect([rebuilt.get(shopA), rebuilt.get(shopB)]).toEqual([await balance(shopA), await balance(shopB)]);
    const [held] = await rpc.batch([tokenBalance(local.usdc, local.vault, 'latest')]);
    expect(held?.ok === true && asUnits(held.result)).toBe((rebuilt.get(shopA) ?? 0n) + (rebuilt.get(shopB) ?? 0n));
  });

  it('names a cap for what exceeds it', async () => {
    await local.sendAs(roles.governor, local.vault, vaultInterface.encodeFunctionData('setTokenRules', [local.usdc, true, 25n, 40n, 86_400]));
    const to = holder('payee 3');
    const pay = (amount: number): PayoutItem => ({ merchantKey: shopA, to, amount: units(amount) });
    // The window still counts the 271 that left before: with 40 for a day nothing more does.
    expect(await settle(bytes32('batch 2'), [pay(1)])).toEqual([refused('INTENT_REASON_CAP_EXCEEDED')]);
    await local.sendAs(roles.governor, local.vault, vaultInterface.encodeFunctionData('setTokenRules', [local.usdc, true, 25n, 1_000n, 86_400]));
    expect(await settle(bytes32('batch 3'), [pay(20), pay(6), pay(5)])).toEqual([done, refused('INTENT_REASON_CAP_EXCEEDED'), done]);
  });

  it('reverts as a whole when frozen, for a lost epoch, for an unknown token and for a stranger, each by name', async () => {
    const nothing = encodeCollect(local.usdc, 0n, []);
    await local.sendAs(roles.epochKeeper, local.vault, vaultInterface.encodeFunctionData('raiseMinEpoch', [3n]));
    expect(await revertOf(encodeCollect(local.usdc, 2n, []))).toEqual({ name: 'StaleEpoch', reason: 'INTENT_REASON_STALE_EPOCH' });
    expect(await revertOf(encodeCollect(holder('no token'), 3n, []))).toEqual({ name: 'TokenNotAccepted', reason: 'INTENT_REASON_UNKNOWN_TOKEN' });
    expect(await revertOf(nothing, holder('stranger'))).toEqual({ name: 'AccessControlUnauthorizedAccount', reason: 'INTENT_REASON_REVERTED' });
    await local.sendAs(roles.guardian, local.vault, vaultInterface.encodeFunctionData('freeze', []));
    expect(await revertOf(encodeCollect(local.usdc, 3n, []))).toEqual({ name: 'VaultIsFrozen', reason: 'INTENT_REASON_VAULT_FROZEN' });
    await local.sendAs(roles.governor, local.vault, vaultInterface.encodeFunctionData('unfreeze', []));
  });

  it('refuses a transaction above the gas that EIP-7825 allows', async () => {
    const { raw } = signTransaction({ type: 2, chainId: anvil.chainId, nonce, to: local.vault, data: '0x', gasLimit: 16_777_217n, value: 0n, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n }, relayer);
    await expect(rpc.call('eth_sendRawTransaction', [raw])).rejects.toBeInstanceOf(RpcRefused);
  });

  it('asks a wallet with code, and only a yes counts', async () => {
    const [yes, no, stuck] = [holder('yes'), holder('no'), holder('stuck')];
    // return bytes4(0x1626ba7e) · revert · jump to itself
    await rpc.call('anvil_setCode', [yes, '0x631626ba7e60e01b5f5260205ff3']);
    await rpc.call('anvil_setCode', [no, '0x5f5ffd']);
    await rpc.call('anvil_setCode', [stuck, '0x5b5f56']);
    const ask = (wallet: EvmAddress): Promise<boolean> => isValidWalletSignature(rpc, wallet, key('digest'), '0x1234' as HexBytes);
    expect([await ask(yes), await ask(no), await ask(stuck), await ask(holder('nobody'))]).toEqual([true, false, false, false]);
  });
});

describe('a local chain', () => {
  it('keeps its contracts, balances and history over a restart', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'settlement-anvil-state-'));
    const statePath = join(folder, 'state.json');
    try {
      let anvil = await startAnvil({ statePath });
      const first = await deployLocal(anvil.rpcUrl, roles);
      await first.mint(holder('saver'), 42n);
      const block = Number(await jsonRpc(anvil.rpcUrl).call('eth_blockNumber', []));
      await anvil.stop();
      anvil = await startAnvil({ statePath });
      try {
        const second = await deployLocal(anvil.rpcUrl, roles);
        expect(first.fresh).toBe(true);
        expect(second).toMatchObject({ fresh: false, vault: first.vault, usdc: first.usdc });
        const rpc = jsonRpc(anvil.rpcUrl);
        expect(Number(await rpc.call('eth_blockNumber', []))).toBeGreaterThanOrEqual(block);
        const [saved] = await rpc.batch([tokenBalance(second.usdc, holder('saver'), 'latest')]);
        expect(saved?.ok === true && asUnits(saved.result)).toBe(42n);
        expect(await rpc.call('eth_getBlockByNumber', [`0x${block.toString(16)}`, false])).not.toBeNull();
        await expect(deployLocal(anvil.rpcUrl, { ...roles, relayers: [holder('another')] })).rejects.toMatchObject({ code: 'LOCAL_DEPLOYMENT_DIFFERS' });
        await second.mint(holder('saver'), 1n);
      } finally {
        await anvil.stop();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

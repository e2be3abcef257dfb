import { domainSeparator, signAuthorization, type Eip3009Message } from '@settlement/chain/eip3009';
import { addressOfPrivateKey, signTransaction } from '@settlement/chain/native-secp256k1';
import { jsonRpc } from '@settlement/chain/rpc';
import { decodeTransfers, encodeTransfers, transfersGasLimit, type TransferItem } from '@settlement/chain/transfers-codec';
import { collectGasLimit, decodeCollect, decodeSettle, encodeCollect, encodeSettle, groupByMerchant, settleGasLimit, type CollectItem, type PayoutItem, type VaultLog } from '@settlement/chain/vault-codec';
import { disperseLoopAbi, disperseLoopBytecode } from '@settlement/contracts/generated/DisperseLoop';
import { fiatTokenV2_2Abi } from '@settlement/contracts/generated/FiatTokenV2_2';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import type { TokenUnits } from '@settlement/kernel/money';
import { startAnvil } from '@settlement/local-stack/anvil';
import { deployLocal } from '@settlement/local-stack/deploy';
import { machine, ratiosOf, round, type BenchDocument, type BenchResult } from '@settlement/testing/bench';
import { getCreateAddress, Interface, keccak256, toUtf8Bytes, type InterfaceAbi } from 'ethers';

/**
 * Gas per payment and per payout on the real USDC. Gas is deterministic: keys come from a fixed seed, the chain is empty at
 * the start, and the same code gives the same figures on every machine.
 *
 * collect: every payer is another and keeps a balance; payments are spread evenly over min(20, n) merchants, who have been
 * credited before. settle: one merchant pays n recipients, as the peer's one payer does; `existing` recipients hold USDC already.
 * direct transfer: every payer is another, the payees are 20 who hold USDC. Rows of their own show what more merchants in a batch cost, up to a merchant each: one ledger write a merchant.
 */
export interface GasBenchOptions {
  readonly onProgress?: (text: string) => void;
}

const MERCHANTS = 20;
const PAYEES = 20;
const PAYMENT = 1_250_000n as TokenUnits;
const PAYOUT = 4_000n as TokenUnits;
const usdcInterface = new Interface(fiatTokenV2_2Abi as unknown as InterfaceAbi);
const disperseInterface = new Interface(disperseLoopAbi as unknown as InterfaceAbi);

const seeded = (text: string): Uint8Array => Buffer.from(keccak256(toUtf8Bytes(`gas bench ${text}`)).slice(2), 'hex');
const bytes32 = (text: string): Bytes32 => keccak256(toUtf8Bytes(`gas bench ${text}`)) as Bytes32;
const someone = (text: string): EvmAddress => `0x${bytes32(text).slice(-40)}` as EvmAddress;

export async function runGasBench({ onProgress = () => undefined }: GasBenchOptions = {}): Promise<BenchDocument> {
  const anvil = await startAnvil();
  try {
    const relayer = seeded('relayer');
    const relayerAddress = addressOfPrivateKey(relayer);
    const rpc = jsonRpc(anvil.rpcUrl, { timeoutMs: 60_000 });
    const local = await deployLocal(anvil.rpcUrl, {
      admin: someone('admin'),
      guardian: someone('guardian'),
      governor: someone('governor'),
      epochKeeper: someone('epoch keeper'),
      relayers: [relayerAddress],
    });
    const { vault, usdc, transfers } = local;
    await rpc.call('anvil_setBalance', [relayerAddress, `0x${(10n ** 24n).toString(16)}`]);
    const separator = domainSeparator(local.usdcDomain);
    let nonce = 0;
    let names = 0;
    const payerKeys = new Map<EvmAddress, Uint8Array>();

    async function send(to: EvmAddress | null, data: string, gasLimit: bigint): Promise<{ gasUsed: number; logs: readonly VaultLog[] }> {
      const { raw } = signTransaction({ type: 2, chainId: anvil.chainId, nonce, to, data, gasLimit, value: 0n, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n }, relayer);
      nonce += 1;
      const receipt = (await rpc.call('eth_sendRawTransactionSync', [raw])) as { status: string; gasUsed: string; logs: VaultLog[] };
      invariant(receipt.status === '0x1', 'GAS_BENCH_REVERTED', 'a measured transaction reverted', { to, gasUsed: receipt.gasUsed });
      return { gasUsed: Number(receipt.gasUsed), logs: receipt.logs };
    }

    async function payments(count: number, merchants: number, kind: 'ReceiveWithAuthorization' | 'TransferWithAuthorization'): Promise<CollectItem[]> {
      const items = Array.from({ length: count }, (_, i): CollectItem => {
        names += 1;
        const key = seeded(`payer ${names}`);
        payerKeys.set(addressOfPrivateKey(key), key);
        const authorization: Eip3009Message = {
          from: addressOfPrivateKey(key),
          to: vault,
          value: PAYMENT,
          validAfter: 0n,
          validBefore: 4_000_000_000n,
          nonce: bytes32(`nonce ${names}`),
        };
        return { merchantKey: bytes32(`merchant ${i % merchants}`), authorization, signature: signAuthorization(kind, separator, authorization, key) };
      });
      await local.mintMany(items.map(({ authorization }) => ({ to: authorization.from, units: PAYMENT * 3n })));
      return groupByMerchant(items);
    }

    async function collect(count: number, merchants = MERCHANTS): Promise<number> {
      const items = await payments(count, Math.min(count, merchants), 'ReceiveWithAuthorization');
      const { gasUsed, logs } = await send(vault, encodeCollect(usdc, 0n, items), collectGasLimit(count));
      invariant(decodeCollect(items, { vault, token: usdc }, logs).every((o) => o.executed), 'GAS_BENCH_FAILED_ITEM', 'every payment succeeds in a measurement');
      return gasUsed;
    }

    async function recipients(count: number, existing: boolean): Promise<EvmAddress[]> {
      const all = Array.from({ length: count }, () => someone(`recipient ${(names += 1)}`));
      if (existing) await local.mintMany(all.map((to) => ({ to, units: 5_000_000n })));
      return all;
    }

    async function settle(count: number, existing: boolean, merchants: number): Promise<number> {
      const to = await recipients(count, existing);
      const payouts = groupByMerchant(to.map((recipient, i): PayoutItem => ({ merchantKey: bytes32(`merchant ${i % merchants}`), to: recipient, amount: PAYOUT })));
      const batch = bytes32(`batch ${(names += 1)}`);
      const { gasUsed, logs } = await send(vault, encodeSettle(usdc, 0n, batch, payouts), settleGasLimit(count));
      invariant(decodeSettle(payouts, batch, vault, logs).every((o) => o.executed), 'GAS_BENCH_FAILED_ITEM', 'every payout succeeds in a measurement');
      return gasUsed;
    }

    const results: BenchResult[] = [];
    const record = (subject: string, scenario: string, items: number, gasTotal: number, merchants?: number): void => {
      const result = { subject, scenario, gasPerItem: round(gasTotal / items, 1), gasTotal, items, ...(merchants === undefined ? {} : { merchants }) };
      results.push(result);
      onProgress(`${subject}, ${scenario}: ${result.gasPerItem} gas an item`);
    };

    // Each merchant of a measurement has an account with a balance: the first credit of all, which costs 17,100 more, is behind it.
    for (let at = 0; at < 200; at += 100) {
      const items = (await payments(100, 100, 'ReceiveWithAuthorization')).map((item, i) => ({ ...item, merchantKey: bytes32(`merchant ${at + i}`) }));
      await send(vault, encodeCollect(usdc, 0n, items), collectGasLimit(items.length));
    }
    for (const count of [1, 10, 50, 100]) record('ours', `collect ${count}`, count, await collect(count), Math.min(count, MERCHANTS));
    record('ours', 'collect 50, one merchant', 50, await collect(50, 1), 1);
    record('ours', 'collect 50, a merchant each', 50, await collect(50, 50), 50);

    // Straight to payees: 20 of them, who hold USDC already.
    async function transfer(count: number): Promise<number> {
      const items = (await payments(count, 1, 'TransferWithAuthorization')).map(({ authorization }, i): TransferItem => {
        const key = payerKeys.get(authorization.from);
        invariant(key !== undefined, 'GAS_BENCH_PAYER', 'every payer has a key', { from: authorization.from });
        const direct = { ...authorization, to: someone(`payee ${i % PAYEES}`) };
        return { authorization: direct, signature: signAuthorization('TransferWithAuthorization', separator, direct, key) };
      });
      const { gasUsed, logs } = await send(transfers, encodeTransfers(usdc, 0n, items), transfersGasLimit(items));
      invariant(decodeTransfers(items, { transfers, token: usdc }, logs).every((o) => o.executed), 'GAS_BENCH_FAILED_ITEM', 'every payment succeeds in a measurement');
      return gasUsed;
    }
    await local.mintMany(Array.from({ length: PAYEES }, (_, i) => ({ to: someone(`payee ${i}`), units: 5_000_000n })));
    for (const count of [1, 10, 50, 100]) record('ours', `direct transfer ${count}`, count, await transfer(count));

    // What a relayer without a vault does: one transferWithAuthorization to the payee a transaction.
    const alone = await payments(10, 1, 'TransferWithAuthorization');
    let aloneGas = 0;
    for (const { authorization: a, signature } of alone) {
      const data = usdcInterface.encodeFunctionData('transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)', [a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, signature]);
      aloneGas += (await send(usdc, data, 200_000n)).gasUsed;
    }
    for (const count of [1, 10, 50, 100]) record('eip-3009 one by one', `collect ${count}`, count, (aloneGas / alone.length) * count);
    // To the same kind of payee: what a facilitator pays that settles each payment in a transaction of its own.
    let directGas = 0;
    for (const { authorization } of await payments(10, 1, 'TransferWithAuthorization')) {
      const key = payerKeys.get(authorization.from);
      invariant(key !== undefined, 'GAS_BENCH_PAYER', 'every payer has a key', { from: authorization.from });
      const a = { ...authorization, to: someone('payee 0') };
      const signature = signAuthorization('TransferWithAuthorization', separator, a, key);
      const data = usdcInterface.encodeFunctionData('transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)', [a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, signature]);
      directGas += (await send(usdc, data, 200_000n)).gasUsed;
    }
    for (const count of [1, 10, 50, 100]) record('eip-3009 one by one', `direct transfer ${count}`, count, (directGas / 10) * count);

    const disperse = getCreateAddress({ from: relayerAddress, nonce }).toLowerCase() as EvmAddress;
    await send(null, disperseLoopBytecode, 2_000_000n);
    await local.mint(relayerAddress, 10_000_000_000n);
    await send(usdc, usdcInterface.encodeFunctionData('approve', [disperse, 2n ** 255n]), 200_000n);
    for (const existing of [true, false]) {
      for (const count of [10, 100, 200]) {
        const scenario = `settle ${count} ${existing ? 'existing' : 'new'}`;
        record('ours', scenario, count, await settle(count, existing, 1), 1);
        const to = await recipients(count, existing);
        const data = disperseInterface.encodeFunctionData('disperse', [usdc, to, to.map(() => PAYOUT)]) as HexBytes;
        record('disperse', scenario, count, (await send(disperse, data, 16_000_000n)).gasUsed);
      }
    }
    record('ours', 'settle 200 existing, 20 merchants', 200, await settle(200, true, MERCHANTS), MERCHANTS);
    record('ours', 'settle 200 existing, a merchant each', 200, await settle(200, true, 200), 200);
    return { bench: 'gas', machine: machine(), results, ratios: ratiosOf(results, 'gasPerItem') };
  } finally {
    await anvil.stop();
  }
}

import { addressWord, fromHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { decodePermit2Transfers, encodePermit2Transfers, permit2GasLimit, type Permit2Item } from '@settlement/chain/transfers-codec';
import type { VaultLog } from '@settlement/chain/vault-codec';
import { fiatTokenV2_2Abi } from '@settlement/contracts/generated/FiatTokenV2_2';
import { exactPermit2ProxyStandInAbi } from '@settlement/contracts/generated/ExactPermit2ProxyStandIn';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { startAnvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { deployPermit2, PERMIT2 } from '@settlement/testing/permit2';
import { Interface, keccak256, toUtf8Bytes, Wallet, type InterfaceAbi } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Keys and holders of this file only: made of their names.
const secret = (name: string): Uint8Array => fromHex(keccak256(toUtf8Bytes(`permit2 test ${name}`)));
const holder = (name: string): EvmAddress => addressOfPrivateKey(secret(name));
const usdcInterface = new Interface(fiatTokenV2_2Abi as unknown as InterfaceAbi);
const proxyInterface = new Interface(exactPermit2ProxyStandInAbi as unknown as InterfaceAbi);
const RELAYER = holder('relayer');
const PAYEE = holder('payee');

/** As the npm package of x402 states them. */
const TYPES = {
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

let anvil: Awaited<ReturnType<typeof startAnvil>>;
let local: LocalDeployment;
let rpc: JsonRpc;
let nonces = 0n;

beforeAll(async () => {
  anvil = await startAnvil();
  rpc = jsonRpc(anvil.rpcUrl, { timeoutMs: 30_000 });
  local = await deployLocal(anvil.rpcUrl, { admin: holder('admin'), guardian: holder('guardian'), governor: holder('governor'), epochKeeper: holder('epoch keeper'), relayers: [RELAYER] });
  await deployPermit2(rpc);
});
afterAll(() => anvil.stop());

interface Wish {
  readonly signer?: string;
  readonly funded?: boolean;
  readonly allowed?: boolean;
  readonly validAfter?: bigint;
  readonly deadline?: bigint;
}

async function permit(name: string, { signer = name, funded = true, allowed = true, validAfter = 0n, deadline = 4_000_000_000n }: Wish = {}): Promise<Permit2Item> {
  const owner = holder(name);
  const amount = 1_000_000n as TokenUnits;
  if (funded) await local.mint(owner, amount);
  if (allowed) await local.sendAs(owner, local.usdc, usdcInterface.encodeFunctionData('approve', [PERMIT2, 2n ** 255n]));
  nonces += 1n;
  const nonce = BigInt(keccak256(toUtf8Bytes(`nonce ${nonces}`)));
  const signature = await new Wallet(`0x${Buffer.from(secret(signer)).toString('hex')}`).signTypedData({ name: 'Permit2', chainId: local.chainId, verifyingContract: PERMIT2 }, TYPES, {
    permitted: { token: local.usdc, amount },
    spender: local.permit2Proxy,
    nonce,
    deadline,
    witness: { to: PAYEE, validAfter },
  });
  return { owner, to: PAYEE, amount, nonce, deadline, validAfter, signature: signature as HexBytes };
}

async function send(items: readonly Permit2Item[]): Promise<{ readonly outcomes: readonly string[]; readonly gasUsed: bigint }> {
  const hash = await local.sendAs(RELAYER, local.transfers, encodePermit2Transfers(local.usdc, 0n, items));
  const { logs, gasUsed } = (await rpc.call('eth_getTransactionReceipt', [hash])) as { logs: VaultLog[]; gasUsed: string };
  return { outcomes: decodePermit2Transfers(items, local.transfers, logs).map((outcome) => (outcome.executed ? 'paid' : outcome.reason)), gasUsed: BigInt(gasUsed) };
}

const balance = async (who: EvmAddress): Promise<bigint> => BigInt(String(await rpc.call('eth_call', [{ to: local.usdc, data: `0x70a08231${addressWord(who)}` }, 'latest'])));

describe('payments through the real Permit2', () => {
  it('pays what is good in a batch and names what is not', async () => {
    const used = await permit('used');
    await local.sendAs(
      holder('stranger'),
      local.permit2Proxy,
      proxyInterface.encodeFunctionData('settle', [{ permitted: { token: local.usdc, amount: used.amount }, nonce: used.nonce, deadline: used.deadline }, used.owner, { to: PAYEE, validAfter: 0n }, used.signature]),
    );
    const good = [await permit('first'), await permit('second')];
    const [one, two] = good;
    if (one === undefined || two === undefined) throw new RangeError('no permits');
    const items = [
      one,
      await permit('forged', { signer: 'forger' }),
      used,
      await permit('poor', { funded: false }),
      await permit('unallowed', { allowed: false }),
      await permit('late', { deadline: 1n }),
      await permit('early', { validAfter: 3_999_999_999n }),
      { ...(await permit('misdirected')), to: holder('thief') },
      { ...(await permit('inward')), to: local.transfers },
      one,
      two,
    ];
    const before = await balance(PAYEE);
    const { outcomes } = await send(items);
    expect(outcomes.map((outcome) => outcome.replace('INTENT_REASON_', ''))).toEqual([
      'paid',
      'INVALID_SIGNATURE',
      'AUTHORIZATION_USED',
      'INSUFFICIENT_FUNDS',
      'ALLOWANCE_REQUIRED',
      'AUTHORIZATION_EXPIRED',
      'AUTHORIZATION_NOT_YET_VALID',
      'INVALID_SIGNATURE',
      'MALFORMED',
      'AUTHORIZATION_USED',
      'paid',
    ]);
    expect(await balance(PAYEE)).toBe(before + 2_000_000n);
    expect(await balance(holder('thief'))).toBe(0n);
    expect(await balance(local.transfers)).toBe(0n);
  });

  it('stays far below its gas limit', async () => {
    const items = await Promise.all(Array.from({ length: 10 }, (_, i) => permit(`gas ${i}`)));
    const { outcomes, gasUsed } = await send(items);
    expect(outcomes.every((outcome) => outcome === 'paid')).toBe(true);
    expect(gasUsed * 2n).toBeLessThan(permit2GasLimit(items));
  });
});

import type { TokenDomain } from '@settlement/chain/eip3009';
import { bytes32, fromHex } from '@settlement/chain/hex';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { fiatTokenProxyAbi, fiatTokenProxyBytecode } from '@settlement/contracts/generated/FiatTokenProxy';
import { fiatTokenV2_2Abi, fiatTokenV2_2Bytecode, fiatTokenV2_2Links } from '@settlement/contracts/generated/FiatTokenV2_2';
import { paymentVaultAbi, paymentVaultBytecode } from '@settlement/contracts/generated/PaymentVault';
import { ownedWalletFactoryBytecode } from '@settlement/contracts/generated/OwnedWalletFactory';
import { signatureCheckerBytecode } from '@settlement/contracts/generated/SignatureChecker';
import { simpleAccountFactoryV07Bytecode } from '@settlement/contracts/generated/SimpleAccountFactoryV07';
import { simpleAccountFactoryV08Bytecode } from '@settlement/contracts/generated/SimpleAccountFactoryV08';
import { sponsorPaymasterAbi, sponsorPaymasterBytecode } from '@settlement/contracts/generated/SponsorPaymaster';
import { transfersAbi, transfersBytecode } from '@settlement/contracts/generated/Transfers';
import { ENTRY_POINT_V07, ENTRY_POINT_V08, type EntryPointVersion } from '@settlement/chain/user-operation';
import { orThrow } from '@settlement/kernel/parsed';
import { parseEvmAddress, type EvmAddress } from '@settlement/kernel/address';
import { invariant, OperationalError } from '@settlement/kernel/errors';
import { DETERMINISTIC_DEPLOYER, DEV_SPONSOR_SIGNER, ENTRY_POINTS } from './deploy-accounts';
import { AbiCoder, getCreateAddress, id, Interface, type InterfaceAbi } from 'ethers';

export interface LocalRoles {
  /** Grants and revokes roles; a timelock behind a Safe where it counts. */
  readonly admin: EvmAddress;
  readonly guardian: EvmAddress;
  readonly governor: EvmAddress;
  readonly epochKeeper: EvmAddress;
  readonly relayers: readonly EvmAddress[];
  /** Of the paymasters' deposits and stakes; the governor unless named. */
  readonly treasury?: EvmAddress;
  /** Whose signatures the paymasters take; `DEV_SPONSOR_SIGNER` unless named. */
  readonly sponsorSigner?: EvmAddress;
}

export interface LocalCaps {
  readonly perTransactionMax: bigint;
  readonly perWindowMax: bigint;
  readonly windowSeconds: number;
}

export interface LocalDeployment {
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly vault: EvmAddress;
  readonly usdc: EvmAddress;
  readonly usdcDomain: TokenDomain;
  readonly usdcDecimals: 6;
  /** Direct payments; pays through Permit2 once `deployPermit2` has put that there. */
  readonly transfers: EvmAddress;
  /** The canonical address of the x402 proxy of Permit2; without code until `deployPermit2`. */
  readonly permit2Proxy: EvmAddress;
  /** At their canonical addresses, with the published account factory of each. */
  readonly entryPoints: readonly { readonly address: EvmAddress; readonly version: EntryPointVersion; readonly accountFactory: EvmAddress }[];
  /** Ours, one for each entry point, staked and with a deposit. */
  readonly sponsorPaymasters: readonly { readonly entryPoint: EvmAddress; readonly address: EvmAddress }[];
  /** Makes wallets with ERC-1271 (libs/contracts/solidity/peers/Wallets.sol); listed by `Transfers` for ERC-6492. */
  readonly walletFactory: EvmAddress;
  /** False when the chain had both already. */
  readonly fresh: boolean;
  /** Adds freshly minted USDC minor units; resolves when mined. */
  mint(to: EvmAddress, units: bigint): Promise<void>;
  mintMany(grants: readonly { readonly to: EvmAddress; readonly units: bigint }[]): Promise<void>;
  blacklist(address: EvmAddress): Promise<void>;
  unblacklist(address: EvmAddress): Promise<void>;
  pauseUsdc(): Promise<void>;
  unpauseUsdc(): Promise<void>;
  /** A call from any address, signed by nobody: the node impersonates the sender. Resolves to the transaction hash when mined; throws on a revert. */
  sendAs(from: EvmAddress, to: EvmAddress, data: string): Promise<string>;
}

/** 10 million and 100 million USDC: out of the way of a demo, small enough that a test can exceed them. */
export const LOCAL_CAPS: LocalCaps = { perTransactionMax: 10_000_000_000_000n, perWindowMax: 100_000_000_000_000n, windowSeconds: 86_400 };

const address = (text: string): EvmAddress => orThrow(parseEvmAddress(text));

/** Nobody has a key for these: the node impersonates them. From a fixed deployer, the contracts' addresses are fixed, too. */
const DEPLOYER = address('0x5e7713ed00000000000000000000000000000001');
const TOKEN_OWNER = address('0x5e7713ed00000000000000000000000000000002');
const TOKEN_PROXY_ADMIN = address('0x5e7713ed00000000000000000000000000000003');
const TOKEN_MINTER = address('0x5e7713ed00000000000000000000000000000004');
const TOKEN_LOST_AND_FOUND = address('0x5e7713ed00000000000000000000000000000005');

/** EIP-7825: no transaction may ask for more. */
const GAS_PER_TRANSACTION_MAX = 16_777_216;
const CALL_GAS = 1_000_000;
const MINE_TIMEOUT_MS = 30_000;
const ADMIN_DELAY_SECONDS = 0;

const created = (nonce: number): EvmAddress => address(getCreateAddress({ from: DEPLOYER, nonce }));
const LIBRARY_NONCE = 0;
const IMPLEMENTATION_NONCE = 1;
const PROXY_NONCE = 2;
const VAULT_NONCE = 3;
const TRANSFERS_NONCE = 4;
const WALLET_FACTORY_NONCE = 5;
// Two nonces on: both entry points come through the deterministic deployer.
const ACCOUNT_FACTORY_V07_NONCE = 8;
const ACCOUNT_FACTORY_V08_NONCE = 9;
const SPONSOR_PAYMASTER_V07_NONCE = 10;
const SPONSOR_PAYMASTER_V08_NONCE = 11;

/** 10 units of native currency in each deposit, 1 staked for a day, and at most 0.05 for one operation. */
const PAYMASTER_DEPOSIT_WEI = 10n ** 19n;
const PAYMASTER_STAKE_WEI = 10n ** 18n;
const PAYMASTER_UNSTAKE_SECONDS = 86_400;
const COST_PER_OPERATION_WEI_MAX = 5n * 10n ** 16n;

/** Where every public chain has it. */
export const X402_PERMIT2_PROXY = address('0x402085c248eea27d92e8b30b2c58ed07f9e20001');

const usdcInterface = new Interface(fiatTokenV2_2Abi as unknown as InterfaceAbi);
const proxyInterface = new Interface(fiatTokenProxyAbi as unknown as InterfaceAbi);
const transfersInterface = new Interface(transfersAbi as unknown as InterfaceAbi);
const paymasterInterface = new Interface(sponsorPaymasterAbi as unknown as InterfaceAbi);
const vaultInterface = new Interface(paymentVaultAbi as unknown as InterfaceAbi);

interface Sending {
  readonly from: EvmAddress;
  readonly to?: EvmAddress;
  readonly data: string;
  readonly gas: number;
  readonly valueWei?: bigint;
}

/** The node's unsigned sending, in order: explicit nonces, so that a batch cannot be shuffled. */
function impersonator(rpc: JsonRpc) {
  const prepared = new Set<string>();
  let queue: Promise<void> = Promise.resolve();

  async function prepare(from: EvmAddress): Promise<void> {
    if (prepared.has(from)) return;
    await rpc.call('anvil_impersonateAccount', [from]);
    await rpc.call('anvil_setBalance', [from, `0x${(10n ** 24n).toString(16)}`]);
    prepared.add(from);
  }

  async function sendNow(sendings: readonly Sending[]): Promise<string[]> {
    const nonces = new Map<EvmAddress, number>();
    for (const { from } of sendings) {
      await prepare(from);
      if (!nonces.has(from)) nonces.set(from, Number(await rpc.call('eth_getTransactionCount', [from, 'pending'])));
    }
    const answers = await rpc.batch(
      sendings.map(({ from, to, data, gas, valueWei }) => {
        const nonce = nonces.get(from) ?? 0;
        nonces.set(from, nonce + 1);
        return {
          method: 'eth_sendTransaction',
          params: [{ from, ...(to === undefined ? {} : { to }), data, gas: `0x${gas.toString(16)}`, ...(valueWei === undefined ? {} : { value: `0x${valueWei.toString(16)}` }), nonce: `0x${nonce.toString(16)}` }],
        };
      }),
    );
    const hashes = answers.map((answer) => {
      if (!answer.ok) throw new OperationalError('LOCAL_SEND_REFUSED', answer.error.message, 'not-done');
      return String(answer.result);
    });
    // A node with a block time would let us wait; mining by hand changes nothing but the waiting.
    await rpc.call('evm_mine', []);
    await mined(hashes);
    return hashes;
  }

  async function mined(hashes: readonly string[]): Promise<void> {
    const deadline = Date.now() + MINE_TIMEOUT_MS;
    let waiting = hashes;
    while (waiting.length > 0) {
      const answers = await rpc.batch(waiting.map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] })));
      waiting = waiting.filter((hash, i) => {
        const answer = answers[i];
        if (answer === undefined || !answer.ok || answer.result === null) return true;
        const { status, from, to, gasUsed } = answer.result as { status: string; from: string; to: string | null; gasUsed: string };
        if (status !== '0x1') {
          throw new OperationalError('LOCAL_TRANSACTION_REVERTED', `transaction ${hash} from ${from} to ${to ?? 'a new contract'} reverted after ${Number(gasUsed)} gas`, 'done');
        }
        return false;
      });
      if (waiting.length === 0) return;
      if (Date.now() > deadline) throw new OperationalError('LOCAL_NOT_MINED', `${waiting.length} transactions not mined within ${MINE_TIMEOUT_MS} ms`, 'unknown');
      await new Promise((resolve) => setTimeout(resolve, 30));
      await rpc.call('evm_mine', []);
    }
  }

  return (sendings: readonly Sending[]): Promise<string[]> => {
    // One after the other: two batches at once would read the same pending nonce.
    const result = queue.then(() => sendNow(sendings));
    // The caller gets the error; the queue only waits until it is over, either way.
    const over = (): void => undefined;
    queue = result.then(over, over);
    return result;
  };
}

function linked(bytecode: string, library: EvmAddress): string {
  let code = bytecode;
  for (const { start, length } of fiatTokenV2_2Links.SignatureChecker) {
    const at = 2 + start * 2;
    code = code.slice(0, at) + library.slice(2) + code.slice(at + length * 2);
  }
  fromHex(code); // every placeholder is gone
  return code;
}

function deployments(roles: LocalRoles): readonly Sending[] {
  const encode = (types: readonly string[], values: readonly unknown[]): string => AbiCoder.defaultAbiCoder().encode(types, values).slice(2);
  const create = (data: string): Sending => ({ from: DEPLOYER, data, gas: GAS_PER_TRANSACTION_MAX });
  return [
    create(signatureCheckerBytecode),
    create(linked(fiatTokenV2_2Bytecode, created(LIBRARY_NONCE))),
    create(fiatTokenProxyBytecode + encode(['address'], [created(IMPLEMENTATION_NONCE)])),
    create(
      paymentVaultBytecode +
        encode(
          ['address', 'uint48', 'address', 'address', 'address', 'address[]'],
          [roles.admin, ADMIN_DELAY_SECONDS, roles.guardian, roles.governor, roles.epochKeeper, roles.relayers],
        ),
    ),
    create(
      transfersBytecode +
        encode(
          ['address', 'uint48', 'address', 'address', 'address', 'address', 'address[]'],
          [roles.admin, ADMIN_DELAY_SECONDS, roles.guardian, roles.governor, created(VAULT_NONCE), X402_PERMIT2_PROXY, roles.relayers],
        ),
    ),
    create(ownedWalletFactoryBytecode),
    { ...create(ENTRY_POINTS['0.7'].data), to: DETERMINISTIC_DEPLOYER },
    { ...create(ENTRY_POINTS['0.8'].data), to: DETERMINISTIC_DEPLOYER },
    create(simpleAccountFactoryV07Bytecode + encode(['address'], [ENTRY_POINT_V07])),
    create(simpleAccountFactoryV08Bytecode + encode(['address'], [ENTRY_POINT_V08])),
    ...[ENTRY_POINT_V07, ENTRY_POINT_V08].map((entryPoint) =>
      create(
        sponsorPaymasterBytecode +
          encode(
            ['address', 'address', 'uint48', 'address', 'address', 'address', 'address', 'uint128'],
            [entryPoint, roles.admin, ADMIN_DELAY_SECONDS, roles.governor, roles.guardian, roles.treasury ?? roles.governor, roles.sponsorSigner ?? DEV_SPONSOR_SIGNER, COST_PER_OPERATION_WEI_MAX],
          ),
      ),
    ),
  ];
}

function configuration(roles: LocalRoles, caps: LocalCaps, usdc: EvmAddress, vault: EvmAddress): readonly Sending[] {
  const call = (from: EvmAddress, to: EvmAddress, data: string): Sending => ({ from, to, data, gas: CALL_GAS });
  return [
    // The proxy's admin may not call through it: it is handed over before anything else.
    call(DEPLOYER, usdc, proxyInterface.encodeFunctionData('changeAdmin', [TOKEN_PROXY_ADMIN])),
    call(DEPLOYER, usdc, usdcInterface.encodeFunctionData('initialize', ['USD Coin', 'USDC', 'USD', 6, TOKEN_OWNER, TOKEN_OWNER, TOKEN_OWNER, TOKEN_OWNER])),
    call(DEPLOYER, usdc, usdcInterface.encodeFunctionData('initializeV2', ['USD Coin'])),
    call(DEPLOYER, usdc, usdcInterface.encodeFunctionData('initializeV2_1', [TOKEN_LOST_AND_FOUND])),
    call(DEPLOYER, usdc, usdcInterface.encodeFunctionData('initializeV2_2', [[], 'USDC'])),
    call(TOKEN_OWNER, usdc, usdcInterface.encodeFunctionData('configureMinter', [TOKEN_MINTER, 2n ** 200n])),
    call(roles.governor, vault, vaultInterface.encodeFunctionData('setTokenRules', [usdc, true, caps.perTransactionMax, caps.perWindowMax, caps.windowSeconds])),
    ...[SPONSOR_PAYMASTER_V07_NONCE, SPONSOR_PAYMASTER_V08_NONCE].flatMap((nonce) => [
      { ...call(DEPLOYER, created(nonce), paymasterInterface.encodeFunctionData('deposit')), valueWei: PAYMASTER_DEPOSIT_WEI },
      { ...call(roles.treasury ?? roles.governor, created(nonce), paymasterInterface.encodeFunctionData('addStake', [PAYMASTER_UNSTAKE_SECONDS])), valueWei: PAYMASTER_STAKE_WEI },
    ]),
    call(roles.governor, created(TRANSFERS_NONCE), transfersInterface.encodeFunctionData('setWalletFactory', [created(WALLET_FACTORY_NONCE), true])),
  ];
}

/**
 * Puts the real USDC (proxy, V2.2, linked signature checker), our contracts and the ERC-4337 entry points on a local anvil, or finds them there: the addresses
 * do not depend on when it runs. Throws when the chain holds a deployment that is incomplete or has other relayers.
 */
export async function deployLocal(rpcUrl: string, roles: LocalRoles, caps: LocalCaps = LOCAL_CAPS): Promise<LocalDeployment> {
  const rpc = jsonRpc(rpcUrl, { timeoutMs: 30_000 });
  const send = impersonator(rpc);
  const chainId = Number(await rpc.call('eth_chainId', []));
  const usdc = created(PROXY_NONCE);
  const vault = created(VAULT_NONCE);

  const view = async (contract: Interface, to: EvmAddress, name: string, args: readonly unknown[]) =>
    contract.decodeFunctionResult(name, String(await rpc.call('eth_call', [{ to, data: contract.encodeFunctionData(name, args) }, 'latest'])));

  const started = Number(await rpc.call('eth_getTransactionCount', [DEPLOYER, 'latest'])) > 0;
  if (started) {
    const rules = (await rpc.call('eth_getCode', [vault, 'latest'])) === '0x' ? undefined : await view(vaultInterface, vault, 'tokenRules', [usdc]);
    if (rules?.['accepted'] !== true) throw new OperationalError('LOCAL_DEPLOYMENT_INCOMPLETE', 'an earlier deployment stopped half-way: start with an empty chain', 'not-done');
    for (const relayer of roles.relayers) {
      const [has] = await view(vaultInterface, vault, 'hasRole', [id('RELAYER_ROLE'), relayer]);
      if (has !== true) throw new OperationalError('LOCAL_DEPLOYMENT_DIFFERS', `the vault on this chain does not know relayer ${relayer}: start with an empty chain`, 'not-done');
    }
  } else {
    await send(deployments(roles));
    await send(configuration(roles, caps, usdc, vault));
  }

  const usdcDomain: TokenDomain = { name: 'USD Coin', version: '2', chainId: BigInt(chainId), verifyingContract: usdc };
  const [separator] = await view(usdcInterface, usdc, 'DOMAIN_SEPARATOR', []);
  bytes32(String(separator));
  invariant(String(await rpc.call('eth_getCode', [vault, 'latest'])) !== '0x', 'LOCAL_VAULT_MISSING', 'no code at the vault address', { vault });

  const asOwner = async (name: string, args: readonly unknown[]): Promise<void> => {
    await send([{ from: TOKEN_OWNER, to: usdc, data: usdcInterface.encodeFunctionData(name, args), gas: CALL_GAS }]);
  };
  const mintMany = async (grants: readonly { readonly to: EvmAddress; readonly units: bigint }[]): Promise<void> => {
    // 400 mints of 100,000 gas are a transaction pool and a block that any node takes.
    for (let at = 0; at < grants.length; at += 400) {
      await send(grants.slice(at, at + 400).map(({ to, units }) => ({ from: TOKEN_MINTER, to: usdc, data: usdcInterface.encodeFunctionData('mint', [to, units]), gas: 120_000 })));
    }
  };
  return {
    rpcUrl,
    chainId,
    vault,
    usdc,
    usdcDomain,
    usdcDecimals: 6,
    transfers: created(TRANSFERS_NONCE),
    permit2Proxy: X402_PERMIT2_PROXY,
    entryPoints: [
      { address: ENTRY_POINT_V08, version: '0.8', accountFactory: created(ACCOUNT_FACTORY_V08_NONCE) },
      { address: ENTRY_POINT_V07, version: '0.7', accountFactory: created(ACCOUNT_FACTORY_V07_NONCE) },
    ],
    sponsorPaymasters: [
      { entryPoint: ENTRY_POINT_V08, address: created(SPONSOR_PAYMASTER_V08_NONCE) },
      { entryPoint: ENTRY_POINT_V07, address: created(SPONSOR_PAYMASTER_V07_NONCE) },
    ],
    walletFactory: created(WALLET_FACTORY_NONCE),
    fresh: !started,
    mintMany,
    mint: (to, units) => mintMany([{ to, units }]),
    blacklist: (account) => asOwner('blacklist', [account]),
    unblacklist: (account) => asOwner('unBlacklist', [account]),
    pauseUsdc: () => asOwner('pause', []),
    unpauseUsdc: () => asOwner('unpause', []),
    async sendAs(from, to, data) {
      const [hash] = await send([{ from, to, data, gas: GAS_PER_TRANSACTION_MAX }]);
      invariant(hash !== undefined, 'LOCAL_SEND_LOST', 'no hash for a sent transaction');
      return hash;
    },
  };
}

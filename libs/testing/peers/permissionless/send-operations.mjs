// Sends sponsored operations with unmodified viem clients and permissionless accounts, and prints what became of each as one
// line of JSON. Everything it needs comes from the environment:
//   RPC_URL, CHAIN_ID, BUNDLER_URL, PAYMASTER_URL, ENTRY_POINT, VERSION (0.7 or 0.8), FACTORY
//   KEYS     owners' private keys, one account each, comma separated
//   CALLS    JSON: [{to, data, value?}] that each operation makes
//   ROUNDS   operations of each account, one after the other (default 1)
//   CONTEXT  JSON given to the paymaster (default {})
//   WAIT     "receipt" (default) or "hash"
//   LOGIC    for EIP-7702 accounts: the code that each owner is delegated to first, by a transaction of DELEGATOR_KEY
import { to7702SimpleSmartAccount, toSimpleSmartAccount } from 'permissionless/accounts';
import { createPublicClient, createWalletClient, defineChain, http } from 'viem';
import { createBundlerClient, createPaymasterClient } from 'viem/account-abstraction';
import { privateKeyToAccount } from 'viem/accounts';

const { RPC_URL, CHAIN_ID, BUNDLER_URL, PAYMASTER_URL, ENTRY_POINT, VERSION, FACTORY, KEYS, CALLS, ROUNDS = '1', CONTEXT = '{}', WAIT = 'receipt', LOGIC, DELEGATOR_KEY } = process.env;

const chain = defineChain({ id: Number(CHAIN_ID), name: 'local', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 }, rpcUrls: { default: { http: [RPC_URL] } } });
const client = createPublicClient({ chain, transport: http(RPC_URL) });
const paymaster = createPaymasterClient({ transport: http(PAYMASTER_URL) });
const calls = JSON.parse(CALLS).map(({ to, data, value }) => ({ to, data, ...(value === undefined ? {} : { value: BigInt(value) }) }));

const plain = (value) => JSON.parse(JSON.stringify(value, (_key, it) => (typeof it === 'bigint' ? it.toString() : it)));

async function delegate(owner) {
  const wallet = createWalletClient({ account: privateKeyToAccount(DELEGATOR_KEY), chain, transport: http(RPC_URL) });
  const authorization = await owner.signAuthorization({ contractAddress: LOGIC, chainId: chain.id, nonce: 0 });
  const hash = await wallet.sendTransaction({ authorizationList: [authorization], to: owner.address });
  await client.waitForTransactionReceipt({ hash, pollingInterval: 250 });
}

async function accountOf(key) {
  const owner = privateKeyToAccount(key);
  const entryPoint = { address: ENTRY_POINT, version: VERSION };
  if (LOGIC === undefined) return toSimpleSmartAccount({ client, owner, factoryAddress: FACTORY, entryPoint });
  await delegate(owner);
  return to7702SimpleSmartAccount({ client, owner, accountLogicAddress: LOGIC, entryPoint });
}

async function operate(key) {
  const account = await accountOf(key);
  const bundler = createBundlerClient({ account, chain, client, transport: http(BUNDLER_URL), paymaster, paymasterContext: JSON.parse(CONTEXT), pollingInterval: 250 });
  const results = [];
  for (let round = 0; round < Number(ROUNDS); round += 1) {
    const startedMs = performance.now();
    try {
      const hash = await bundler.sendUserOperation({ calls });
      const receipt = WAIT === 'receipt' ? await bundler.waitForUserOperationReceipt({ hash, timeout: 60_000 }) : undefined;
      const byHash = WAIT === 'receipt' ? await bundler.getUserOperation({ hash }) : undefined;
      results.push({ account: account.address, hash, ms: Math.round(performance.now() - startedMs), receipt: plain(receipt ?? null), operation: plain(byHash ?? null) });
    } catch (error) {
      const cause = error.walk?.((it) => typeof it.code === 'number') ?? undefined;
      results.push({ account: account.address, error: String(error.shortMessage ?? error.message), details: String(error.details ?? ''), code: cause?.code ?? null, data: plain(cause?.data ?? null) });
    }
  }
  return results;
}

const results = (await Promise.all(KEYS.split(',').map(operate))).flat();
process.stdout.write(`${JSON.stringify(results)}\n`);

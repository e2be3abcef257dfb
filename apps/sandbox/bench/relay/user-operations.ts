import { createHash } from 'node:crypto';
import { addressWord, fromHex, uintHex } from '@settlement/chain/hex';
import { jsonRpc } from '@settlement/chain/rpc';
import type { UserOperation } from '@settlement/chain/user-operation';
import { systemClock } from '@settlement/config/system-ports';
import type { EvmAddress } from '@settlement/kernel/address';
import { freePort } from '@settlement/local-stack/free-port';
import { percentile, round, type BenchResult } from '@settlement/testing/bench';
import { startPeerProgram } from '@settlement/testing/peer-program';
import { askJsonRpc, SimpleAccountUnderTest } from '@settlement/testing/simple-account';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import type { System } from '../../src/system';
import { costColumns, costsOf, headOf } from './chain-costs';
import type { Load } from './facilitator';
import { relayWith } from './lanes';

/** anvil's seventh and eighth development keys: public, worth nothing. */
const ALTO_EXECUTOR_KEY = '0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e';
const ALTO_UTILITY_KEY = '0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356';

/** Accounts that each send their next operation when the last is mined. More than either bundler puts into two blocks. */
const OURS_CALLERS = 384;
const ALTO_CALLERS = 64;
/** Deployments are not measured; in smaller crowds no bundler is overrun by them. */
const PREPARED_AT_ONCE = 32;
const DEPLOYMENTS_TRIED = 2;
const SCENARIO = 'user operations';
/** How often a caller asks for its receipt, the same for both. Milliseconds. */
const POLL_MS = 1_000;
const RECEIPT_MS_MAX = 30_000;
const PAYEE = `0x${'5e'.repeat(20)}` as EvmAddress;

interface Wallet {
  readonly account: SimpleAccountUnderTest;
  readonly entryPoint: EvmAddress;
  /** Estimated once: all its operations make the same call. */
  readonly drafted: UserOperation;
}

/**
 * Sponsored user operations on the entry point v0.8, ours on one lane and Alto with one executor on the same chain, both with
 * operations that our paymaster sponsors: from the request for the sponsor's signature until a block holds the operation.
 */
export async function userOperations(system: System, { seconds, seed }: Load, progress: (text: string) => void): Promise<readonly BenchResult[]> {
  const results: BenchResult[] = [];
  const keys = await relayWith(system, 1);
  progress(`ours, user operations: ${seconds} s`);
  results.push(await drive(system, { subject: 'ours', bundlerUrl: system.bundlerUrl, senders: keys.map((key) => addressOfPrivateKey(fromHex(key))), callers: OURS_CALLERS, seconds, seed }));
  progress(`Alto, user operations: ${seconds} s`);
  const alto = await startPeerProgram('alto', 'bundler.mjs', {
    RPC_URL: system.anvil.rpcUrl,
    PORT: String(await freePort()),
    ENTRY_POINTS: system.deployment.entryPoints.map(({ address }) => address).join(','),
    EXECUTOR_KEY: ALTO_EXECUTOR_KEY,
    UTILITY_KEY: ALTO_UTILITY_KEY,
    ALTO_LOG_LEVEL: 'error',
  });
  try {
    const bundlerUrl = (alto.said as { readonly url: string }).url;
    results.push(await drive(system, { subject: 'Alto 0.0.20', bundlerUrl, senders: [addressOfPrivateKey(fromHex(ALTO_EXECUTOR_KEY))], callers: ALTO_CALLERS, seconds, seed }));
  } finally {
    // It ends what it has started before it ends itself.
    const ended = new Promise((resolve) => alto.child.once('exit', resolve));
    if (alto.child.kill('SIGTERM')) await ended;
  }
  return results;
}

interface Run {
  readonly subject: string;
  readonly bundlerUrl: string;
  readonly senders: readonly string[];
  readonly callers: number;
  readonly seconds: number;
  readonly seed: number;
}

async function drive(system: System, { subject, bundlerUrl, senders, callers, seconds, seed }: Run): Promise<BenchResult> {
  const wallets = await walletsOf(system, bundlerUrl, `${seed}/${subject}`, callers);
  const latencies: number[] = [];
  const refusals = new Map<string, number>();
  const from = await headOf(system);
  const begin = systemClock.monotonicMs();
  const end = begin + seconds * 1_000;
  let late = 0;
  await Promise.all(
    wallets.map(async (wallet) => {
      let { nonce } = wallet.drafted;
      while (systemClock.monotonicMs() < end) {
        const before = systemClock.monotonicMs();
        const refusal = await operate(system, bundlerUrl, wallet, { ...wallet.drafted, nonce });
        if (refusal !== undefined) {
          refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
          await systemClock.sleep(POLL_MS);
          continue;
        }
        nonce += 1n;
        const after = systemClock.monotonicMs();
        if (after < end) latencies.push(after - before);
        else late += 1;
      }
    }),
  );
  const costs = await costsOf(system, senders, from, await headOf(system));
  if (refusals.size > 0) process.stderr.write(`· ${subject}: ${JSON.stringify(Object.fromEntries(refusals))}\n`);
  return {
    subject,
    scenario: SCENARIO,
    perSecond: round(latencies.length / seconds, 1),
    p50Ms: round(percentile(latencies, 50), 1),
    p99Ms: round(percentile(latencies, 99), 1),
    seconds,
    settled: latencies.length,
    refused: [...refusals.values()].reduce((sum, n) => sum + n, 0),
    ...costColumns(costs, latencies.length + late),
    callers: wallets.length,
  };
}

/** Deployed accounts, each by its first sponsored operation, with gas figures as the bundler estimates them for the next ones. */
async function walletsOf(system: System, bundlerUrl: string, salt: string, count: number): Promise<readonly Wallet[]> {
  const entryPoint = system.deployment.entryPoints.find(({ version }) => version === '0.8');
  if (entryPoint === undefined) throw new Error('the chain has no entry point v0.8');
  const place = { rpc: jsonRpc(system.anvil.rpcUrl), chainId: BigInt(system.deployment.chainId), entryPoint };
  const callData = SimpleAccountUnderTest.execute(system.deployment.usdc, `0x095ea7b3${addressWord(PAYEE)}${uintHex(1n, 32)}`);
  const wallets: Wallet[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(PREPARED_AT_ONCE, count) }, async () => {
      while (next < count) {
        const index = next;
        next += 1;
        const account = await SimpleAccountUnderTest.create(place, createHash('sha256').update(`user operations ${salt} ${index}`).digest());
        // A bundler that loses a deployment has lost this account: the others are enough to load it.
        let refusal: string | undefined = 'not tried';
        for (let tries = 0; refusal !== undefined && tries < DEPLOYMENTS_TRIED; tries += 1) {
          const first = await estimated(system, bundlerUrl, entryPoint.address, account, await account.draft(callData));
          refusal = await operate(system, bundlerUrl, { account, entryPoint: entryPoint.address, drafted: first }, first);
        }
        if (refusal !== undefined) {
          process.stderr.write(`· an account is left out: ${refusal}\n`);
          continue;
        }
        wallets.push({ account, entryPoint: entryPoint.address, drafted: await estimated(system, bundlerUrl, entryPoint.address, account, await account.draft(callData)) });
      }
    }),
  );
  return wallets;
}

async function estimated(system: System, bundlerUrl: string, entryPoint: EvmAddress, account: SimpleAccountUnderTest, draft: UserOperation): Promise<UserOperation> {
  const stub = await askJsonRpc(system.paymasterUrl, 'pm_getPaymasterStubData', [SimpleAccountUnderTest.json(draft), entryPoint, chainHex(system), {}]);
  if (stub.error !== undefined) throw new Error(`no stub: ${stub.error.message}`);
  const stubbed = account.sign(SimpleAccountUnderTest.withFields(draft, stub.result));
  const estimate = await askJsonRpc(bundlerUrl, 'eth_estimateUserOperationGas', [SimpleAccountUnderTest.json(stubbed), entryPoint]);
  if (estimate.error !== undefined) throw new Error(`no estimate: ${estimate.error.message}`);
  return SimpleAccountUnderTest.withFields(stubbed, estimate.result);
}

/** Sponsors, signs, sends and waits until a block holds it; why not, otherwise. */
async function operate(system: System, bundlerUrl: string, { account, entryPoint }: Wallet, draft: UserOperation): Promise<string | undefined> {
  const sponsored = await askJsonRpc(system.paymasterUrl, 'pm_getPaymasterData', [SimpleAccountUnderTest.json(draft), entryPoint, chainHex(system), {}]);
  if (sponsored.error !== undefined) return `sponsor: ${sponsored.error.message}`;
  const operation = account.sign(SimpleAccountUnderTest.withFields(draft, sponsored.result));
  const sent = await askJsonRpc(bundlerUrl, 'eth_sendUserOperation', [SimpleAccountUnderTest.json(operation), entryPoint]);
  if (sent.error !== undefined) return `bundler: ${sent.error.message}`;
  const end = systemClock.monotonicMs() + RECEIPT_MS_MAX;
  while (systemClock.monotonicMs() < end) {
    await systemClock.sleep(POLL_MS);
    const receipt = await askJsonRpc(bundlerUrl, 'eth_getUserOperationReceipt', [sent.result]);
    if (receipt.result !== null && receipt.result !== undefined) return (receipt.result as { readonly success: boolean }).success ? undefined : 'reverted';
  }
  return 'no receipt within half a minute';
}

const chainHex = (system: System): string => `0x${system.deployment.chainId.toString(16)}`;

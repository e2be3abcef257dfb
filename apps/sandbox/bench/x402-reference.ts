// The unmodified x402 reference facilitator, settling on the chain that it is given; a process of its own, so that what
// it costs is its own. Prints one JSON document. Started by reference-run.ts.
import { x402Facilitator } from '@x402/core/facilitator';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { registerExactEvmScheme } from '@x402/evm/exact/facilitator';
import { randomBytes } from 'node:crypto';
import { domainSeparator, signAuthorization } from '@settlement/chain/eip3009';
import { fromHex, toHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { createNonceManager, createWalletClient, http, publicActions } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { jsonRpc as jsonRpcNonceSource } from 'viem/nonce';
import { foundry } from 'viem/chains';

interface Order {
  readonly rpcUrl: string;
  readonly usdc: EvmAddress;
  /** Funded with the chain's currency; the facilitator's own. */
  readonly facilitatorKey: `0x${string}`;
  /** Funded with USDC. */
  readonly payerKeys: readonly `0x${string}`[];
  readonly payTo: EvmAddress;
  readonly seconds: number;
  readonly concurrency: number;
  readonly nonceManager: boolean;
  /** Default settle. */
  readonly operation?: 'settle' | 'verify';
}

const order = JSON.parse(process.argv[2] ?? '{}') as Order;

const account = privateKeyToAccount(order.facilitatorKey, order.nonceManager ? { nonceManager: createNonceManager({ source: jsonRpcNonceSource() }) } : {});
const client = createWalletClient({ account, chain: foundry, transport: http(order.rpcUrl), pollingInterval: 100 }).extend(publicActions);
const signer = toFacilitatorEvmSigner({
  address: account.address,
  readContract: (args) => client.readContract({ ...args, args: args.args ?? [] } as never),
  verifyTypedData: (args) => client.verifyTypedData(args as never),
  writeContract: (args) => client.writeContract({ ...args, args: args.args ?? [] } as never),
  sendTransaction: (args) => client.sendTransaction(args as never),
  waitForTransactionReceipt: (args) => client.waitForTransactionReceipt(args),
  getCode: (args) => client.getCode(args),
});
const facilitator = new x402Facilitator();
registerExactEvmScheme(facilitator, { signer, networks: 'eip155:31337' });

const separator = domainSeparator({ name: 'USD Coin', version: '2', chainId: 31337n, verifyingContract: order.usdc });
const payers = order.payerKeys.map((key) => ({ key: fromHex(key), address: addressOfPrivateKey(fromHex(key)) }));
const requirements: PaymentRequirements = {
  scheme: 'exact',
  network: 'eip155:31337',
  amount: '1000000',
  asset: order.usdc,
  payTo: order.payTo,
  maxTimeoutSeconds: 3600,
  extra: { name: 'USD Coin', version: '2' },
};

function payload(index: number): PaymentPayload {
  const payer = payers[index % payers.length];
  if (payer === undefined) throw new Error('no payers');
  const message = {
    from: payer.address,
    to: order.payTo,
    value: 1_000_000n as TokenUnits,
    validAfter: 0n,
    validBefore: BigInt(Math.floor(Date.now() / 1000) + 3_000),
    nonce: toHex(new Uint8Array(randomBytes(32))) as unknown as Bytes32,
  };
  const signature = signAuthorization('TransferWithAuthorization', separator, message, payer.key);
  return {
    x402Version: 2,
    resource: { url: 'http://127.0.0.1/bench', description: 'bench', mimeType: 'application/json' },
    accepted: requirements,
    payload: {
      signature,
      authorization: { ...message, value: message.value.toString(), validAfter: '0', validBefore: message.validBefore.toString() },
    },
  };
}

/** What the facilitator has against it; undefined when it did what was asked. */
async function refusalOf(mine: PaymentPayload): Promise<string | undefined> {
  if (order.operation === 'verify') {
    const verified = await facilitator.verify(mine, requirements);
    return verified.isValid ? undefined : (verified.invalidReason ?? 'unknown');
  }
  const settled = await facilitator.settle(mine, requirements);
  return settled.success ? undefined : (settled.errorReason ?? 'unknown');
}

const latencies: number[] = [];
const refusals: Record<string, number> = {};
let next = 0;
const started = performance.now();
const until = started + order.seconds * 1_000;
await Promise.all(
  Array.from({ length: order.concurrency }, async () => {
    while (performance.now() < until) {
      const mine = payload(next);
      next += 1;
      const before = performance.now();
      try {
        const reason = await refusalOf(mine);
        if (reason === undefined) latencies.push(performance.now() - before);
        else refusals[reason] = (refusals[reason] ?? 0) + 1;
      } catch (error) {
        const name = error instanceof Error ? error.name : 'unknown';
        refusals[name] = (refusals[name] ?? 0) + 1;
      }
    }
  }),
);
const seconds = (performance.now() - started) / 1_000;
const usage = process.resourceUsage();
process.stdout.write(`${JSON.stringify({ settled: latencies.length, attempted: next, seconds, latencies, refusals, cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6, memoryMiB: usage.maxRSS / 1024 })}\n`);

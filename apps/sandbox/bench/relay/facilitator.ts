import { randomBytes } from 'node:crypto';
import { domainSeparator, signAuthorization } from '@settlement/chain/eip3009';
import { fromHex, toHex } from '@settlement/chain/hex';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32 } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { percentile, round, type BenchResult } from '@settlement/testing/bench';
import { payerOf } from '../../src/payer';
import type { System } from '../../src/system';
import { costColumns, costsOf, headOf } from './chain-costs';

const PAYERS = 200;
const AMOUNT = 1_000_000n;
/** A settle waits for its block, so the callers bound the rate at about two thirds of their number, and what is above it is queueing. */
const SETTLE_CALLERS = 512;
const VERIFY_CALLERS = 32;
/** After the first answer, which may have waited for a lane that is just starting. */
const WARM_UP_MS = 4_000;
const FIRST_ANSWER_MS_MAX = 60_000;

export interface Load {
  readonly seconds: number;
  readonly seed: number;
  readonly callers?: number;
}

interface Counted {
  readonly latencies: number[];
  readonly refusals: Map<string, number>;
  readonly elapsed: number;
  /** Succeeded before or after the window: on the chain all the same. */
  readonly outside: number;
}

/** x402 payments through our gateway: `POST /x402/settle`, answered once a block holds them. */
export async function settleThroughFacilitator(system: System, subject: string, scenario: string, { seconds, seed, callers = SETTLE_CALLERS }: Load, keys: readonly string[]): Promise<BenchResult> {
  const next = await payments(system, seed);
  const from = await headOf(system);
  const counted = await drive(seconds, callers, async () => refusalOf(await post(system, 'settle', next()), 'success', 'errorReason'));
  const senders = keys.map((key) => addressOfPrivateKey(fromHex(key)));
  const costs = await costsOf(system, senders, from, await headOf(system));
  return { ...figures(subject, scenario, counted), ...costColumns(costs, counted.latencies.length + counted.outside), callers };
}

/** The same without the chain's part: `POST /x402/verify` of valid payments that nobody has settled. */
export async function verifyThroughFacilitator(system: System, subject: string, scenario: string, { seconds, seed, callers = VERIFY_CALLERS }: Load): Promise<BenchResult> {
  const next = await payments(system, seed);
  return { ...figures(subject, scenario, await drive(seconds, callers, async () => refusalOf(await post(system, 'verify', next()), 'isValid', 'invalidReason'))), callers };
}

function figures(subject: string, scenario: string, { latencies, refusals, elapsed }: Counted): BenchResult {
  const refused = [...refusals.values()].reduce((sum, n) => sum + n, 0);
  if (refused > 0) process.stderr.write(`· ${subject}: ${JSON.stringify(Object.fromEntries(refusals))}\n`);
  return {
    subject,
    scenario,
    perSecond: round(latencies.length / elapsed, 1),
    p50Ms: round(percentile(latencies, 50), 1),
    p99Ms: round(percentile(latencies, 99), 1),
    seconds: round(elapsed, 1),
    settled: latencies.length,
    refused,
  };
}

/** Callers that each ask again as soon as they are answered; only answers within the window count. */
async function drive(seconds: number, callers: number, ask: () => Promise<string | undefined>): Promise<Counted> {
  const latencies: number[] = [];
  const refusals = new Map<string, number>();
  let outside = 0;
  let windowFrom = Number.POSITIVE_INFINITY;
  let windowTo = Number.POSITIVE_INFINITY;
  let stop = false;
  const caller = async (): Promise<void> => {
    while (!stop) {
      const before = systemClock.monotonicMs();
      const refusal = await ask().catch((error: unknown) => (error instanceof Error ? error.name : 'unknown'));
      const after = systemClock.monotonicMs();
      if (refusal !== undefined) refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
      else if (after >= windowFrom && after < windowTo) latencies.push(after - before);
      else outside += 1;
    }
  };
  const running = Array.from({ length: callers }, caller);
  const giveUpAtMs = systemClock.monotonicMs() + FIRST_ANSWER_MS_MAX;
  while (outside === 0 && systemClock.monotonicMs() < giveUpAtMs) await systemClock.sleep(50);
  await systemClock.sleep(Math.min(WARM_UP_MS, seconds * 1_000));
  windowFrom = systemClock.monotonicMs();
  await systemClock.sleep(seconds * 1_000);
  windowTo = systemClock.monotonicMs();
  stop = true;
  await Promise.all(running);
  return { latencies, refusals, elapsed: (windowTo - windowFrom) / 1_000, outside };
}

/** Requests of x402 version 2, each signed by the next of the payers. */
async function payments(system: System, seed: number): Promise<() => string> {
  const payers = Array.from({ length: PAYERS }, (_, index) => payerOf(seed, `x402/${index}`));
  await system.deployment.mintMany(payers.map((payer) => ({ to: payer.address, units: 10n ** 15n })));
  const domain = system.deployment.usdcDomain;
  const separator = domainSeparator(domain);
  const payTo = payerOf(seed, 'x402/shop').address;
  const paymentRequirements = {
    scheme: 'exact',
    network: system.chainId,
    amount: AMOUNT.toString(),
    asset: system.deployment.usdc,
    payTo,
    maxTimeoutSeconds: 3_600,
    extra: { name: domain.name, version: domain.version },
  };
  let index = 0;
  return () => {
    const payer = payers[index % payers.length];
    index += 1;
    if (payer === undefined) throw new Error('nobody pays');
    const message = {
      from: payer.address,
      to: payTo,
      value: AMOUNT as TokenUnits,
      validAfter: 0n,
      validBefore: BigInt(Math.floor(systemClock.nowMs() / 1_000) + 3_000),
      nonce: toHex(new Uint8Array(randomBytes(32))) as unknown as Bytes32,
    };
    const signature = signAuthorization('TransferWithAuthorization', separator, message, payer.privateKey);
    const authorization = { ...message, value: message.value.toString(), validAfter: '0', validBefore: message.validBefore.toString() };
    const paymentPayload = { x402Version: 2, resource: { url: 'http://127.0.0.1/bench', description: 'bench', mimeType: 'application/json' }, accepted: paymentRequirements, payload: { signature, authorization } };
    return JSON.stringify({ x402Version: 2, paymentPayload, paymentRequirements });
  };
}

async function post(system: System, operation: 'settle' | 'verify', body: string): Promise<Readonly<Record<string, unknown>>> {
  const response = await fetch(`${system.apiUrl}/x402/${operation}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  return (await response.json()) as Readonly<Record<string, unknown>>;
}

function refusalOf(answer: Readonly<Record<string, unknown>>, verdict: string, reason: string): string | undefined {
  if (answer[verdict] === true) return undefined;
  const text = answer[reason] ?? answer['code'];
  return typeof text === 'string' ? text : 'unknown';
}

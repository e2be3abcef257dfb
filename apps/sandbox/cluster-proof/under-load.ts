import { systemClock } from '@settlement/config/system-ports';
import { jsonRpc } from '@settlement/chain/rpc';
import type { DemoTarget } from '../src/demo-target';
import type { Observer } from '../src/observer';
import { moneyVerdict, type MoneyVerdict } from './money';
import { longestPauseMs } from './pauses';
import { SteadyLoad, type SentRequest } from './steady-load';

export interface LoadReport {
  readonly requests: number;
  readonly failed: readonly SentRequest[];
  readonly payments: number;
  /** Longest time without an accepted payment, without one becoming final, without a payout, while the disturbance lasted and until all was well. */
  readonly pausesMs: { readonly accepting: number; readonly settling: number; readonly payingOut: number };
  /** Of answered requests. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  readonly money: MoneyVerdict;
}

export interface UnderLoadOptions {
  readonly label: string;
  readonly perSecond: number;
}

/** Traffic flows for so long before and after the disturbance: what is normal must be seen, and so must the return to it. */
const CALM_MS = 4_000;
const FLOW_TIMEOUT_MS = 120_000;

/** Disturbs the system in the midst of steady traffic, lets all payments come to their ends and judges where the money is. */
export async function underLoad(
  target: DemoTarget,
  observer: Observer,
  options: UnderLoadOptions,
  abort: AbortSignal,
  disturb: (load: SteadyLoad) => Promise<void>,
): Promise<LoadReport> {
  const sinceBlock = BigInt(String(await jsonRpc(target.deployment.rpcUrl).call('eth_blockNumber', []))) + 1n;
  const load = await SteadyLoad.prepare(target, options);
  load.start();
  let disturbedAtMs: number;
  let calmAtMs: number;
  try {
    await flowing(load, observer, systemClock.nowMs(), abort);
    await systemClock.sleep(CALM_MS);
    disturbedAtMs = systemClock.nowMs();
    await disturb(load);
    // Until a payment that was accepted after the disturbance is final: only then has settling come back, too.
    await flowing(load, observer, systemClock.nowMs(), abort);
    await systemClock.sleep(CALM_MS);
  } finally {
    calmAtMs = systemClock.nowMs();
    await load.stop();
  }
  const money = await moneyVerdict(target, load, observer, sinceBlock, abort);
  const mine = load.payments.flatMap(({ paymentId }) => (paymentId === undefined ? [] : (observer.payments.get(paymentId) ?? [])));
  const times = (of: (track: (typeof mine)[number]) => number | undefined): number[] => mine.flatMap((track) => of(track) ?? []);
  const latencies = load.requests.filter(({ failure }) => failure === '').map(({ startedAtMs, endedAtMs }) => endedAtMs - startedAtMs).sort((a, b) => a - b);
  const at = (fraction: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * fraction))] ?? 0;
  return {
    requests: load.requests.length,
    failed: load.failures,
    payments: load.payments.length,
    pausesMs: {
      accepting: longestPauseMs(load.requests.filter(({ what, failure }) => what === 'payment' && failure === '').map(({ endedAtMs }) => endedAtMs), disturbedAtMs, calmAtMs),
      settling: longestPauseMs(times((track) => track.collectedAtMs), disturbedAtMs, calmAtMs),
      payingOut: longestPauseMs(times((track) => track.paidOutAtMs), disturbedAtMs, calmAtMs),
    },
    latencyMs: { p50: at(0.5), p99: at(0.99) },
    money,
  };
}

/** Until a payment that was sent after that moment has been accepted and is final on the chain. */
async function flowing(load: SteadyLoad, observer: Observer, sinceMs: number, abort: AbortSignal): Promise<void> {
  const deadline = systemClock.monotonicMs() + FLOW_TIMEOUT_MS;
  for (;;) {
    if (abort.aborted) throw new Error('interrupted');
    const final = load.payments.some(
      ({ paymentId, acceptedAtMs }) => paymentId !== undefined && acceptedAtMs !== undefined && acceptedAtMs > sinceMs && observer.payments.get(paymentId)?.collectedAtMs !== undefined,
    );
    if (final) return;
    if (systemClock.monotonicMs() > deadline) {
      const { accepted, collected } = observer.counts();
      throw new Error(`no payment became final within ${FLOW_TIMEOUT_MS / 1_000} s (${accepted} accepted, ${collected} collected; last failure: ${load.failures.at(-1)?.failure ?? 'none'})`);
    }
    await systemClock.sleep(100);
  }
}

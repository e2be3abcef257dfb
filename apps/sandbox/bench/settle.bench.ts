import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { domainSeparator, signAuthorization } from '@settlement/chain/eip3009';
import { toHex } from '@settlement/chain/hex';
import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32 } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import * as relayer from '@settlement/proto/relayer/v1/events';
import { machine, percentile, ratiosOf, round, type BenchDocument, type BenchResult } from '@settlement/testing/bench';
import pg from 'pg';
import { registerMerchants } from '../src/merchants';
import { payerOf } from '../src/payer';
import { serviceNames } from '../src/service-process';
import { startSystem, type System } from '../src/system';
import { usageOfFamily, type Usage } from './process-usage';
import { profileReport } from './profile-summary';
import { runReference } from './reference-run';

const scenario = 'settle';
const blockTimeMs = 1_000;
const finalityDepth = 2;
/** Accepted and not final at the most: about five seconds of work, so that a slow system shows in its rate, not in an endless queue. */
const openMax = 1_500;
const senders = 128;
const warmUpMs = 8_000;
const seed = 8;

/**
 * Ours and the x402 reference, one after the other on the same chain with blocks of one second; the reference twice: one
 * call after the other, and twenty at once with viem's nonce manager, which is the best that it offers on one key.
 */
export async function runSettleBench(options: { readonly seconds: number | undefined; readonly profile: string | undefined }): Promise<BenchDocument> {
  const seconds = options.seconds ?? 60;
  const folder = mkdtempSync(join(tmpdir(), 'settlement-bench-'));
  const profile = options.profile === undefined ? undefined : resolve(options.profile);
  if (profile !== undefined) mkdirSync(profile, { recursive: true });
  const progress = (text: string): void => void process.stderr.write(`· ${text}\n`);
  const nodeArguments = Object.fromEntries(serviceNames.map((name) => [name, profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`]]));
  const system = await startSystem({
    feed: 'postgres',
    folder,
    lasting: false,
    blockTimeMs,
    finalityDepth,
    sanctioned: [],
    traces: false,
    nodeArguments,
    environment: Object.fromEntries(serviceNames.map((name) => [name, { LOG_LEVEL: 'warn' }])),
    onProgress: progress,
    onUnexpectedExit: (name, code, signal) => progress(`${name} ended by itself (${signal ?? code})`),
  });
  try {
    const results = [await ours(system, seconds, progress)];
    for (const [subject, concurrency, nonceManager] of [
      ['x402 reference 2.27, sequential', 1, false],
      ['x402 reference 2.27, 20 at once, nonce manager', 20, true],
    ] as const) {
      progress(`${subject}: ${Math.min(seconds, 30)} s`);
      const run = await runReference(system, { concurrency, nonceManager, seconds: Math.min(seconds, 30), seed, operation: 'settle' });
      results.push(run.result(subject, scenario));
    }
    return { bench: 'settle', machine: machine(), results, ratios: ratiosOf(results, 'perSecond') };
  } finally {
    await system.stop();
    // The profiles are written when the services end.
    if (profile !== undefined) process.stderr.write(profileReport(profile, serviceNames));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function ours(system: System, seconds: number, progress: (text: string) => void): Promise<BenchResult> {
  const merchants = await registerMerchants(system.apiUrl, system.adminToken, system.chainId, 20, seed, 'bench');
  const payers = Array.from({ length: 200 }, (_, index) => payerOf(seed, `bench/${index}`));
  await system.deployment.mintMany(payers.map((payer) => ({ to: payer.address, units: 10n ** 15n })));
  const separator = domainSeparator(system.deployment.usdcDomain);

  let final = 0;
  const watermarks = new Map<number, bigint>();
  const feed = system.openFeed();
  const watching = await feed.subscribe({
    source: 'relayer',
    consumer: 'bench',
    watermark: (partition) => Promise.resolve(watermarks.get(partition) ?? 0n),
    handle: (partition, events) => {
      for (const event of events) {
        if (event.position <= (watermarks.get(partition) ?? 0n)) continue;
        watermarks.set(partition, event.position);
        if (event.type !== 'TransactionFinalized') continue;
        final += relayer.TransactionFinalized.decode(event.payload).outcomes.filter((o) => o.kind === relayer.IntentKind.INTENT_KIND_COLLECT && o.executed).length;
      }
      return Promise.resolve();
    },
  });

  let accepted = 0;
  let refused = 0;
  let lastRefusal = '';
  let index = 0;
  let stop = false;
  const sender = async (): Promise<void> => {
    while (!stop) {
      if (accepted - final > openMax) {
        await systemClock.sleep(5);
        continue;
      }
      const mine = index;
      index += 1;
      const payer = payers[mine % payers.length];
      const merchant = merchants[mine % merchants.length];
      if (payer === undefined || merchant === undefined) throw new Error('nobody pays');
      const message = {
        from: payer.address,
        to: system.deployment.vault,
        value: 1_000_000n as TokenUnits,
        validAfter: 0n,
        validBefore: BigInt(Math.floor(systemClock.nowMs() / 1_000) + 3_000),
        nonce: toHex(new Uint8Array(randomBytes(32))) as unknown as Bytes32,
      };
      const signature = signAuthorization('ReceiveWithAuthorization', separator, message, payer.privateKey);
      const response = await fetch(`${system.apiUrl}/v1/payments`, {
        method: 'POST',
        headers: { authorization: `Bearer ${merchant.apiKey}`, 'content-type': 'application/json', 'idempotency-key': `bench-${mine}` },
        body: JSON.stringify({
          amount: '1000000',
          token: 'USDC',
          chain: system.chainId,
          reference: `bench-${mine}`,
          authorization: { ...message, value: '1000000', validAfter: '0', validBefore: message.validBefore.toString(), signature },
        }),
      });
      const text = await response.text();
      if (response.status === 201) accepted += 1;
      else {
        refused += 1;
        lastRefusal = text;
      }
    }
  };
  progress(`ours: warming up, then ${seconds} s`);
  const running = Array.from({ length: senders }, sender);
  await systemClock.sleep(warmUpMs);
  const parts = () =>
    new Map<string, Usage>([
      ...[...system.services].map(([name, service]): [string, Usage] => [name, usageOfFamily(service.pid ?? 0)]),
      ['postgres', usageOfFamily(system.postgres.pid)],
      ['anvil', usageOfFamily(system.anvil.pid)],
      ['load generator', usageOfFamily(process.pid)],
    ]);
  const before = { at: systemClock.monotonicMs(), wallMs: systemClock.nowMs(), final, usage: parts() };
  await systemClock.sleep(seconds * 1_000);
  const after = { at: systemClock.monotonicMs(), wallMs: systemClock.nowMs(), final, usage: parts() };
  stop = true;
  await Promise.all(running);
  // What was accepted reaches its end, too: a rate that leaves a backlog behind would be none.
  const drainUntil = systemClock.monotonicMs() + 60_000;
  while (final < accepted && systemClock.monotonicMs() < drainUntil) await systemClock.sleep(200);
  if (final < accepted) progress(`${accepted - final} accepted payments did not become final`);
  if (refused > 0) progress(`${refused} refused, such as ${lastRefusal}`);
  await systemClock.sleep(1_500);
  await watching.stop();
  await feed.close();

  const elapsed = (after.at - before.at) / 1_000;
  const latencies = await acceptedToFinal(system, before.wallMs, after.wallMs);
  const cpu: Record<string, number> = {};
  const family = (name: string): number => (after.usage.get(name)?.cpuSeconds ?? 0) - (before.usage.get(name)?.cpuSeconds ?? 0);
  let children = 0;
  for (const name of after.usage.keys()) {
    if (name === 'load generator') continue;
    cpu[`cpu ${name}`] = round(family(name) / elapsed, 2);
    children += family(name);
  }
  cpu['cpu load generator'] = round(Math.max(0, family('load generator') - children) / elapsed, 2);
  const memory = Object.fromEntries([...after.usage].filter(([name]) => name !== 'load generator').map(([name, usage]) => [`MiB ${name}`, Math.round(usage.memoryMiB)]));
  return {
    subject: 'ours',
    scenario,
    perSecond: round((after.final - before.final) / elapsed, 1),
    p50Ms: Math.round(percentile(latencies, 50)),
    p99Ms: Math.round(percentile(latencies, 99)),
    seconds: round(elapsed, 1),
    settled: after.final - before.final,
    refused,
    lostAfterDrain: accepted - final,
    ...cpu,
    ...memory,
  };
}

/** Of payments that became final within the window, from the log's own times. */
async function acceptedToFinal(system: System, fromMs: number, toMs: number): Promise<number[]> {
  const client = new pg.Client({ connectionString: system.databaseUrl('gateway') });
  await client.connect();
  try {
    const { rows } = await client.query<{ ms: string }>(
      `SELECT ((c.recorded_at_ns - a.recorded_at_ns) / 1000000)::text AS ms
         FROM event_store.event c JOIN event_store.event a ON a.stream_id = c.stream_id AND a.type = 'PaymentAccepted'
        WHERE c.type = 'PaymentCollected' AND c.recorded_at_ns BETWEEN $1 AND $2`,
      [BigInt(Math.round(fromMs)) * 1_000_000n, BigInt(Math.round(toMs)) * 1_000_000n],
    );
    return rows.map((row) => Number(row.ms));
  } finally {
    await client.end();
  }
}

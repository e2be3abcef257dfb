import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { machine, ratiosOf, type BenchDocument, type BenchResult } from '@settlement/testing/bench';
import { profileReport } from '../profile-summary';
import { serviceNames } from '../../src/service-process';
import { startSystem } from '../../src/system';
import { settleThroughFacilitator, verifyThroughFacilitator } from './facilitator';
import { INSTANCE_ID, LANE_COUNTS, relayWith, scaleOverLanes } from './lanes';
import { settleThroughReference, verifyThroughReference } from './reference';
import { userOperations } from './user-operations';

const BLOCK_TIME_MS = 1_000;
const FINALITY_DEPTH = 2;
const SEED = 9;
const SECONDS = 30;
/** All load comes from one address: what protects a service from one caller is not what is measured. Requests a minute. */
const QUOTA_OFF = '100000000';
/** The reference's rate does not change with time; what it would take longer would only be waited for. */
const REFERENCE_SECONDS_MAX = 30;

/**
 * Our facilitator and the x402 reference one after the other on one chain with blocks of one second, ours on one key like the
 * reference; then the same load over more lanes; then user operations. Scenarios: `settle`, `verify`, `lanes`, and those of
 * user-operations.ts. The ratios are ours over each peer of a scenario.
 */
export async function runRelayBench(options: { readonly seconds: number | undefined; readonly profile: string | undefined }): Promise<BenchDocument> {
  const seconds = options.seconds ?? SECONDS;
  const referenceSeconds = Math.min(seconds, REFERENCE_SECONDS_MAX);
  const folder = mkdtempSync(join(tmpdir(), 'settlement-bench-'));
  const profile = options.profile === undefined ? undefined : resolve(options.profile);
  if (profile !== undefined) mkdirSync(profile, { recursive: true });
  const progress = (text: string): void => void process.stderr.write(`· ${text}\n`);
  const system = await startSystem({
    feed: 'postgres',
    folder,
    lasting: false,
    blockTimeMs: BLOCK_TIME_MS,
    finalityDepth: FINALITY_DEPTH,
    sanctioned: [],
    traces: false,
    relayerKeys: Math.max(...LANE_COUNTS),
    nodeArguments: Object.fromEntries(serviceNames.map((name) => [name, profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`]])),
    environment: { ...Object.fromEntries(serviceNames.map((name) => [name, { LOG_LEVEL: 'warn' }])), gateway: { LOG_LEVEL: 'warn', X402_ACCESS: 'open' }, paymaster: { LOG_LEVEL: 'warn', JSON_RPC_QUOTA: QUOTA_OFF }, relayer: { LOG_LEVEL: 'warn', INSTANCE_ID, BUNDLER_QUOTA: QUOTA_OFF } },
    onProgress: progress,
    onUnexpectedExit: (name, code, signal) => progress(`${name} ended by itself (${signal ?? code})`),
  });
  try {
    const results: BenchResult[] = [];
    const oneKey = await relayWith(system, 1);
    progress(`ours, settle: ${seconds} s`);
    results.push(await settleThroughFacilitator(system, 'ours', 'settle', { seconds, seed: SEED }, oneKey));
    progress(`the x402 reference, settle: three times ${referenceSeconds} s`);
    results.push(...(await settleThroughReference(system, 'settle', referenceSeconds, SEED)));
    progress(`ours, verify: ${seconds} s`);
    results.push(await verifyThroughFacilitator(system, 'ours', 'verify', { seconds, seed: SEED }));
    progress(`the x402 reference, verify: twice ${referenceSeconds} s`);
    results.push(...(await verifyThroughReference(system, 'verify', referenceSeconds, SEED)));
    results.push(...(await scaleOverLanes(system, 'lanes', { seconds, seed: SEED }, progress)));
    results.push(...(await userOperations(system, { seconds, seed: SEED }, progress)));
    return { bench: 'relay', machine: machine(), results, ratios: ratiosOf(results, 'perSecond') };
  } finally {
    await system.stop();
    if (profile !== undefined) process.stderr.write(profileReport(profile, serviceNames));
    rmSync(folder, { recursive: true, force: true });
  }
}

import type { Clock } from '@settlement/kernel/time';
import type { DemoResult } from './demo-findings';
import type { DemoOptions } from './demo-options';
import { driveDemo } from './demo-run';
import type { DemoTarget } from './demo-target';
import { Endpoints } from './endpoints';
import { LiveView } from './live-view';
import { ledgerView } from './money-check';
import { planScenario } from './scenario';
import type { ServiceName } from './service-process';
import { startSystem, type System } from './system';
import { payersOf } from './traffic';

const blockTimeMs = 1_000;
const finalityDepth = 2;

/** The demo on a system of processes that is started for it and stopped afterwards. */
export async function runDemo(options: DemoOptions, folder: string, clock: Clock, abort: AbortSignal): Promise<DemoResult> {
  const startedAtMs = clock.monotonicMs();
  const view = new LiveView();
  const unexpected: string[] = [];
  const system = await startSystem({
    feed: options.feed,
    folder,
    lasting: false,
    blockTimeMs,
    finalityDepth,
    sanctioned: [payersOf(planScenario(options), options.seed).sanctioned.address],
    onProgress: (text) => view.say(`· ${text}`),
    onUnexpectedExit: (name, code, signal) => {
      unexpected.push(`${name} ended by itself (${signal ?? `code ${code}`})`);
      view.say(`✗ ${unexpected.at(-1)}`);
    },
  });
  try {
    return await driveDemo(localTarget(system, options.feed, unexpected, clock, view), options, clock, abort, view, startedAtMs);
  } finally {
    await system.stop();
  }
}

export function localTarget(system: System, feed: 'postgres' | 'kafka', unexpected: readonly string[], clock: Clock, view: LiveView): DemoTarget {
  return {
    api: new Endpoints([system.apiUrl]),
    adminToken: system.adminToken,
    chainId: system.chainId,
    deployment: system.deployment,
    feed,
    run: undefined,
    unexpected,
    databaseUrl: (service) => system.databaseUrl(service),
    openFeed: () => system.openFeed(),
    ledger: () => ledgerView(system),
    async killAndRestart(name: ServiceName) {
      const service = system.services.get(name);
      if (service === undefined) throw new Error(`no service ${name}`);
      view.say(`· kill -9 ${name} (process ${service.pid ?? '?'})`);
      await service.kill();
      await clock.sleep(500);
      service.start();
      await service.ready(60_000);
    },
  };
}

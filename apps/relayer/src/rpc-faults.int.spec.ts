import { readFileSync } from 'node:fs';
import { faultPlans, printPlans } from '@settlement/testing/rpc-proxy/fault-plan';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { EndpointWorld } from '../test/endpoint-world';
import { until } from '../test/in-process';
import { startWorld } from '../test/relayer-world';

/** Seeds that failed once: replayed for ever. A person adds what a longer run finds. */
const KEPT = JSON.parse(readFileSync(new URL('rpc-fault-seeds.json', import.meta.url), 'utf8')) as { readonly seeds: readonly number[] };
/** `SEEDS=100-140 npx vitest run --project int apps/relayer/src/rpc-faults.int.spec.ts` looks further. */
const FRESH = seedsOf(process.env['SEEDS'] ?? '1,2,8,15');
const ENDPOINTS = 3;
const INTENTS = 30;
/** An endpoint's requests after which its plan is over. */
const FAULTY_REQUESTS = 120;

function seedsOf(text: string): readonly number[] {
  return text.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

const seeds = [...new Set([...KEPT.seeds, ...FRESH])];
let endpoints: EndpointWorld;

beforeAll(async () => {
  endpoints = new EndpointWorld(await startWorld({ databases: seeds.map((seed) => `seed_${seed}`), payers: 40, blockTimeMs: 250, finalityDepth: 2 }));
});
afterEach(() => endpoints.clear());
afterAll(async () => {
  await endpoints?.world.stop();
});

describe('the payment flow against endpoints that fail and lie', () => {
  it.each(seeds)('seed %i: every intent is executed once, chain and log agree to the unit, nothing is left open', async (seed) => {
    const plans = faultPlans({ seed, endpoints: ENDPOINTS, requests: FAULTY_REQUESTS });
    const before = await endpoints.standing();
    try {
      const by = await endpoints.relayerBehind(`seed_${seed}`, plans);
      const requests = endpoints.collects(INTENTS);
      for (let at = 0; at < INTENTS; at += 6) {
        await by.relayer.submission.submit(requests.slice(at, at + 6), '');
        const height = await endpoints.world.rpc.call('eth_blockNumber', []);
        await until('a block has passed', async () => (await endpoints.world.rpc.call('eth_blockNumber', [])) !== height);
      }
      await endpoints.allFinal(by, requests);
      await endpoints.exactlyOnce(`seed_${seed}`, requests, before);
    } catch (error) {
      const happened = endpoints.proxies.map(({ journal }, i) => journal.map((it) => `  endpoint ${i + 1}, request ${it.request} (${it.methods}): ${it.fault}`).join('\n')).join('\n');
      throw new Error(`keep this seed in rpc-fault-seeds.json\n${printPlans(seed, plans)}\nwhat happened:\n${happened}\n${String(error)}`, { cause: error });
    }
    // Proof that the run was what it says: faults did happen, and broadcasts met some of them.
    expect(endpoints.proxies.flatMap(({ journal }) => journal).length).toBeGreaterThan(3);
  });
});

import { post, startX402Gateway, startX402Stage, V1_NETWORK, V2_NETWORK, X402_CHAIN } from '../test/x402-stage';
import { referenceFacilitator } from '../test/x402-reference';
import { newAccount, type X402Request } from '../test/x402-payloads';

// How many x402 payments are verified a second, by this gateway over HTTP and by the SDK's facilitator called in its process, on one
// chain without blocks to wait for. Run: node tools/run.mjs exec apps/gateway/bench/verify-x402.ts [seconds]
const SECONDS = Number(process.argv[2] ?? 5);
const REQUESTS = 400;

/** Verified a second, and CPU milliseconds of this process for each. */
async function rate(callers: number, verify: (request: X402Request) => Promise<boolean>, requests: readonly X402Request[]): Promise<{ readonly perSecond: number; readonly cpuMs: number }> {
  const before = process.cpuUsage();
  let done = 0;
  let next = 0;
  const end = performance.now() + SECONDS * 1_000;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < end) {
        const request = requests[(next += 1) % requests.length];
        if (request === undefined || !(await verify(request))) throw new Error('a good payment was refused');
        done += 1;
      }
    }),
  );
  const { user, system } = process.cpuUsage(before);
  return { perSecond: Math.round(done / SECONDS), cpuMs: Math.round((user + system) / done / 10) / 100 };
}

const stage = await startX402Stage();
const gateway = await startX402Gateway(stage);
try {
  const payers = await Promise.all(Array.from({ length: 20 }, () => stage.payer(1_000_000_000n)));
  const requests = await Promise.all(Array.from({ length: REQUESTS }, (_, i) => stage.request(2, payers[i % payers.length] ?? newAccount(), newAccount().address)));
  const reference = await referenceFacilitator(stage.anvil.rpcUrl, X402_CHAIN, { v1: V1_NETWORK, v2: V2_NETWORK }, []);
  const ours = async (request: X402Request): Promise<boolean> => (await post(gateway, 'verify', request)).body.isValid === true;
  const theirs = async (request: X402Request): Promise<boolean> => {
    const verdict = await reference.verify(request);
    return 'isValid' in verdict && verdict.isValid;
  };
  for (const callers of [1, 20]) {
    const [a, b] = [await rate(callers, ours, requests), await rate(callers, theirs, requests)];
    console.log(JSON.stringify({ scenario: `verify, ${callers} callers`, ours: a, reference: b, ratio: Math.round((a.perSecond / b.perSecond) * 10) / 10, cpuRatio: Math.round((b.cpuMs / a.cpuMs) * 10) / 10 }));
  }
} finally {
  await gateway.stop();
  await stage.stop();
}

import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { createMerchant, newPayer, paymentBody, startGateway, startSurroundings } from '../test/running-gateway';

/**
 * Payments a second that one gateway accepts over HTTP, with its own database and peers that answer at once. Signing is done
 * beforehand. Everything runs in this one process, so the client's and the fakes' share of the CPU counts against the rate.
 * Usage: node tools/run.mjs exec apps/gateway/bench/accept-payments.ts [payments] [callers]
 */
const payments = Number(process.argv[2] ?? 3000);
const callers = Number(process.argv[3] ?? 64);

const around = await startSurroundings();
const gateway = await startGateway(around, { RATE_LIMIT_QUOTA: '1000000' });
try {
  const merchant = await createMerchant(gateway);
  const payers = Array.from({ length: 50 }, newPayer);
  const bodies = Array.from({ length: payments }, (_, i) => {
    const payer = payers[i % payers.length];
    if (payer === undefined) throw new Error('no payer');
    return JSON.stringify(paymentBody(payer));
  });
  const agent = new Agent({ keepAlive: true, maxSockets: callers });
  const latencies: number[] = [];
  const statuses = new Map<number, number>();
  let next = 0;
  const { hostname, port } = new URL(gateway.url);
  const post = (body: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const req = request(
        { agent, hostname, port, path: '/v1/payments', method: 'POST', headers: { authorization: `Bearer ${merchant.key}`, 'content-type': 'application/json', 'idempotency-key': randomUUID(), 'content-length': Buffer.byteLength(body) } },
        (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode ?? 0));
        },
      );
      req.on('error', reject);
      req.end(body);
    });
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
        const fromMs = performance.now();
        const status = await post(body);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        latencies.push(performance.now() - fromMs);
      }
    }),
  );
  const acceptedMs = performance.now() - startedMs;
  const acceptCpu = process.cpuUsage(cpuBefore);
  await gateway.caughtUp();
  const submittedMs = performance.now() - startedMs;
  const cpu = process.cpuUsage(cpuBefore);
  latencies.sort((a, b) => a - b);
  const round = (n: number): number => Math.round(n * 100) / 100;
  process.stdout.write(`${JSON.stringify({
    bench: 'gateway-accept', payments, callers, statuses: Object.fromEntries(statuses),
    acceptedPerSecond: round(payments / (acceptedMs / 1000)), submittedPerSecond: round(payments / (submittedMs / 1000)),
    p50Ms: round(latencies[Math.floor(latencies.length * 0.5)] ?? 0), p99Ms: round(latencies[Math.floor(latencies.length * 0.99)] ?? 0),
    acceptCpuMsPerPayment: round((acceptCpu.user + acceptCpu.system) / 1000 / payments), totalCpuMsPerPayment: round((cpu.user + cpu.system) / 1000 / payments),
    intents: around.peers.intents.size, screeningCalls: around.peers.calls.screening,
  })}\n`);
  agent.destroy();
} finally {
  await gateway.stop();
  await around.stop();
}

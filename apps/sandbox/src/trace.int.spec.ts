import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import type { TokenUnits } from '@settlement/kernel/money';
import { describe, expect, it } from 'vitest';
import { ApiClient } from './api-client';
import { registerMerchants } from './merchants';
import { authorize, payerOf } from './payer';
import { SeededRandom } from './seeded-random';
import { startSystem } from './system';
import type { Bytes32 } from '@settlement/kernel/address';

interface Span {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
}

function spansBelow(folder: string): Span[] {
  return readdirSync(folder).flatMap((file) =>
    readFileSync(join(folder, file), 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line) as Span),
  );
}

describe.each(['postgres', 'kafka'] as const)('one trace of one payment over the %s feed', (feed) => {
  it('spans HTTP, gRPC, feed and chain', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'settlement-trace-'));
    const system = await startSystem({
      feed,
      folder,
      lasting: false,
      blockTimeMs: 1_000,
      finalityDepth: 1,
      sanctioned: [],
      onProgress: () => undefined,
      onUnexpectedExit: (name) => {
        throw new Error(`${name} ended by itself`);
      },
    });
    try {
      const [merchant] = await registerMerchants(system.apiUrl, system.adminToken, system.chainId, 1, 3, 'trace');
      const payer = payerOf(3, 'trace');
      await system.deployment.mint(payer.address, 10_000_000n);
      const api = new ApiClient(system.apiUrl, merchant?.apiKey ?? '');
      const authorization = authorize(payer, system.deployment.usdcDomain, {
        from: payer.address,
        to: system.deployment.vault,
        value: 1_250_000n as TokenUnits,
        validAfter: 0n,
        validBefore: BigInt(Math.floor(systemClock.nowMs() / 1_000) + 3_600),
        nonce: `0x${Buffer.from(new SeededRandom(3, 'trace').bytes(32)).toString('hex')}` as Bytes32,
      });
      const answer = await api.submit('POST', '/v1/payments', { amount: '1250000', token: 'USDC', chain: system.chainId, reference: 'traced', authorization }, 'traced');
      expect(answer.status).toBe(201);
      const id = String(answer.body['id']);
      await expect.poll(async () => (await api.request('GET', `/v1/payments/${id}`)).body['status'], { timeout: 60_000, interval: 200 }).toBe('paid_out');

      // Spans leave their process in batches: wait for the last one instead of for a time.
      const trace = (): Span[] => {
        const spans = spansBelow(system.traceFolder);
        const traceId = spans.find((span) => span.service === 'gateway' && span.name.includes('POST') && span.name.includes('/v1/payments'))?.traceId;
        return spans.filter((span) => span.traceId === traceId);
      };
      await expect.poll(() => new Set(trace().map((span) => span.service)).size, { timeout: 15_000 }).toBe(5);
      const names = trace().map((span) => `${span.service}: ${span.name}`);
      expect(names).toContainEqual(expect.stringMatching(/^gateway: .*POST/));
      expect(names).toContainEqual(expect.stringMatching(/^compliance-screening: .*ScreenMany/));
      expect(names).toContainEqual(expect.stringMatching(/^paymaster: .*ReserveMany/));
      expect(names).toContainEqual(expect.stringMatching(/^relayer: .*SubmitMany/));
      expect(names).toContainEqual(expect.stringMatching(/^relayer: chain/));
      expect(names).toContainEqual(expect.stringMatching(/^batch-settlement: ledger PaymentCollected/));
      // One tree: every span's parent is a span of the same trace, but for the root.
      const ids = new Set(trace().map((span) => span.spanId));
      expect(trace().filter((span) => span.parentSpanId !== '' && !ids.has(span.parentSpanId))).toEqual([]);
      expect(trace().filter((span) => span.parentSpanId === '')).toHaveLength(1);
    } finally {
      await system.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jsonRpc } from '@settlement/chain/rpc';
import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32 } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import { grpcClient } from '@settlement/rpc/grpc-client';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client';
import { registerMerchants } from './merchants';
import { authorizationsUsed, ledgerView, tokenBalances } from './money-check';
import { authorize, payerOf, type Payer } from './payer';
import { SeededRandom } from './seeded-random';
import { startSystem, type System } from './system';
import type { MerchantAccount } from './traffic';

const AMOUNT = 1_250_000n;
/** Deep enough that nothing becomes final by the blocks that the test needs anyway. */
const FINALITY_DEPTH = 6;

interface Message {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

describe('a chain that takes blocks back, under the whole system', () => {
  const folder = mkdtempSync(join(tmpdir(), 'settlement-reorg-'));
  const messages: Message[] = [];
  const payer = payerOf(5, 'reorg');
  const deep = payerOf(5, 'deep');
  const storm = Array.from({ length: 24 }, (_, i) => payerOf(5, `storm/${i}`));
  let system: System;
  let receiver: Server;
  let merchant: MerchantAccount;
  let api: ApiClient;
  let rpc: ReturnType<typeof jsonRpc>;

  beforeAll(async () => {
    receiver = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        messages.push(JSON.parse(body) as Message);
        response.writeHead(204).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    system = await startSystem({
      feed: 'postgres',
      folder,
      lasting: false,
      blockTimeMs: 1_000,
      finalityDepth: FINALITY_DEPTH,
      sanctioned: [],
      traces: false,
      environment: { 'batch-settlement': { BATCH_MAX_AGE_MS: '500', RECONCILE_INTERVAL_MS: '3600000' } },
      onProgress: () => undefined,
      onUnexpectedExit: (name) => {
        throw new Error(`${name} ended by itself`);
      },
    });
    rpc = jsonRpc(system.anvil.rpcUrl);
    await system.deployment.mintMany([payer, ...storm, deep].map(({ address }) => ({ to: address, units: 10_000_000n })));
    // From here on there is a block when the test says so.
    await rpc.call('evm_setIntervalMining', [0]);
    await rpc.call('evm_setAutomine', [false]);
    const [registered] = await registerMerchants(system.apiUrl, system.adminToken, system.chainId, 1, 5, 'reorg');
    if (registered === undefined) throw new Error('no merchant');
    merchant = registered;
    api = new ApiClient(system.apiUrl, merchant.apiKey);
  }, 120_000);

  afterAll(async () => {
    await system?.stop();
    receiver?.closeAllConnections();
    receiver?.close();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  const mine = (blocks: number): Promise<unknown> => rpc.call('anvil_mine', [`0x${blocks.toString(16)}`]);
  const inPool = async (): Promise<number> => Number((await rpc.call('txpool_status', []) as { pending: string }).pending);
  /** The relayer has something in the pool; then a block takes it. */
  const mineNext = async (): Promise<void> => {
    await expect.poll(inPool, { timeout: 30_000, interval: 50 }).toBeGreaterThan(0);
    await mine(1);
  };
  const pay = async (by: Payer, reference: string): Promise<string> => {
    const authorization = authorize(by, system.deployment.usdcDomain, {
      from: by.address,
      to: system.deployment.vault,
      value: AMOUNT as TokenUnits,
      validAfter: 0n,
      validBefore: BigInt(Math.floor(systemClock.nowMs() / 1_000) + 36_000),
      nonce: `0x${Buffer.from(new SeededRandom(5, reference).bytes(32)).toString('hex')}` as Bytes32,
    });
    const created = await api.submit('POST', '/v1/payments', { amount: AMOUNT.toString(), token: 'USDC', chain: system.chainId, reference, authorization }, reference);
    expect(created.status).toBe(201);
    return String(created.body['id']);
  };
  const payment = async (id: string) => (await api.request('GET', `/v1/payments/${id}`)).body;
  const reaches = (id: string, status: string) => expect.poll(async () => (await payment(id))['status'], { timeout: 30_000, interval: 50 }).toBe(status);
  const balance = async () => {
    const { balances } = (await api.request('GET', '/v1/balance')).body as { balances: { pending: string; payable: string; inBatch: string; paidOut: string }[] };
    const [line] = balances;
    return { pending: line?.pending ?? '0', payable: line?.payable ?? '0', inBatch: line?.inBatch ?? '0', paidOut: line?.paidOut ?? '0' };
  };
  const owes = (expected: Awaited<ReturnType<typeof balance>>) => expect.poll(balance, { timeout: 30_000, interval: 50 }).toEqual(expected);
  const told = (type: string) => messages.filter((message) => message.type === type);
  const hears = (type: string, times: number) => expect.poll(() => told(type).length, { timeout: 30_000, interval: 50 }).toBe(times);
  const batches = async () => {
    const client = grpcClient(BatchSettlementServiceService, system.grpcAddresses['batch-settlement'], { defaultDeadlineMs: 10_000 });
    try {
      return (await client.listBatches({ limit: 0, beforeBatchId: '' }, { idempotent: true })).batches;
    } finally {
      client.close();
    }
  };

  it('tells the merchant, compensates the books, pays once what is final, and agrees with the chain to the unit', async () => {
    const answer = await api.submit('POST', '/v1/webhook-endpoints', { url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/` }, 'endpoint');
    expect(answer.status).toBe(201);
    const id = await pay(payer, 'reorg');

    // A block holds it: pending, and no batch has it although every batch is due.
    await mineNext();
    await reaches(id, 'confirmed');
    await owes({ pending: '1250000', payable: '0', inBatch: '0', paidOut: '0' });
    await hears('payment.confirmed', 1);
    expect(told('payment.confirmed')[0]?.data).toMatchObject({ status: 'confirmed', confirmation: { final: false } });
    const first = ((await payment(id))['confirmation'] as { transactionHash: string; blockNumber: number });

    // The chain drops that block. Nothing is collected there any more.
    await rpc.call('anvil_reorg', [1, []]);
    await reaches(id, 'submitted');
    await owes({ pending: '0', payable: '0', inBatch: '0', paidOut: '0' });
    await hears('payment.reorged', 1);
    expect(told('payment.reorged')[0]?.data).toMatchObject({ status: 'submitted', confirmation: null, takenBack: [{ transactionHash: first.transactionHash, blockNumber: first.blockNumber }] });
    expect(await batches()).toEqual([]);
    expect(await authorizationsUsed(system)).toEqual({ used: 0, twice: 0 });

    // It is included again, one block short of final: still nothing to pay with.
    await mineNext();
    await reaches(id, 'confirmed');
    await mine(FINALITY_DEPTH - 1);
    await owes({ pending: '1250000', payable: '0', inBatch: '0', paidOut: '0' });
    expect(await batches()).toEqual([]);
    await mine(1);
    await reaches(id, 'collected');
    await hears('payment.collected', 1);

    // Final: into a batch, whose own block is taken back as well. The payout waits.
    await mineNext();
    await expect.poll(async () => (await batches()).map(({ reason }) => reason), { timeout: 30_000, interval: 50 }).toEqual(['NOT_FINAL']);
    expect(await tokenBalances(system, [merchant.payoutAddress])).toEqual([AMOUNT]);
    await rpc.call('anvil_reorg', [1, []]);
    await expect.poll(async () => (await batches()).map(({ reason }) => reason), { timeout: 30_000, interval: 50 }).toEqual(['REORGED']);
    expect(await tokenBalances(system, [merchant.payoutAddress])).toEqual([0n]);
    await owes({ pending: '0', payable: '0', inBatch: '1250000', paidOut: '0' });
    expect((await payment(id))['status']).toBe('collected');
    expect(told('payment.paid_out')).toEqual([]);

    await mineNext();
    await expect.poll(async () => (await batches()).map(({ reason }) => reason), { timeout: 30_000, interval: 50 }).toEqual(['NOT_FINAL']);
    await mine(FINALITY_DEPTH);
    await reaches(id, 'paid_out');
    await hears('payment.paid_out', 1);
    await owes({ pending: '0', payable: '0', inBatch: '0', paidOut: '1250000' });
    expect(await tokenBalances(system, [merchant.payoutAddress, system.deployment.vault])).toEqual([AMOUNT, 0n]);
    expect(await authorizationsUsed(system)).toEqual({ used: 1, twice: 0 });
    await mine(1);
    expect(await ledgerView(system)).toEqual({ sumOfPostings: '0', merchantPayable: '0', vaultBalanceOnLedger: '0', vaultBalanceOnChain: '0', breaks: 0 });
    expect(((await payment(id))['timeline'] as { status: string }[]).map(({ status }) => status)).toEqual([
      'awaiting_authorization', 'accepted', 'screened', 'sponsored', 'submitted', 'confirmed', 'reorged', 'confirmed', 'collected', 'paid_out',
    ]);

    // The books kept every step: what was taken back was compensated, not removed.
    const client = new pg.Client({ connectionString: system.databaseUrl('batch-settlement') });
    await client.connect();
    try {
      const { rows } = await client.query<{ kind: string; n: string }>(
        `select regexp_replace(regexp_replace(journal_id, '^(pay|bat)_[a-z0-9]+', '\\1'), '-[0-9]+$', '') as kind, count(distinct journal_id)::text as n from ledger.posting group by 1 order by 1`,
      );
      expect(rows.filter(({ kind }) => kind.startsWith('pay'))).toEqual([{ kind: 'pay', n: '1' }, { kind: 'pay-pending', n: '2' }, { kind: 'pay-reversed', n: '1' }]);
    } finally {
      await client.end();
    }
    expect(told('payment.disputed')).toEqual([]);
  }, 120_000);

  it('survives a storm of reorganisations below finality: each payment collected and paid out once, nothing pending, books and chain alike', async () => {
    const before = await tokenBalances(system, [merchant.payoutAddress]);
    // The blocks that gave the payers their money are out of every reorganisation's reach.
    await mine(FINALITY_DEPTH);
    const random = new SeededRandom(5, 'storm');
    const ids: string[] = [];
    const someConfirmed = async (): Promise<boolean> => ((await api.request('GET', '/v1/payments?status=confirmed&limit=1')).body['data'] as unknown[]).length > 0;
    for (let round = 0; round < 8; round += 1) {
      for (const [i, next] of storm.slice(round * 3, round * 3 + 3).entries()) ids.push(await pay(next, `storm-${round}-${i}`));
      await mineNext();
      await mine(random.below(3));
      await expect.poll(someConfirmed, { timeout: 30_000, interval: 50 }).toBe(true);
      // Never as deep as finality: what is final stays. Now and then a second one before anybody has caught up.
      await rpc.call('anvil_reorg', [1 + random.below(FINALITY_DEPTH - 1), []]);
      if (random.below(3) === 0) await rpc.call('anvil_reorg', [1 + random.below(FINALITY_DEPTH - 1), []]);
    }
    const open = new Set(ids);
    const deadline = systemClock.monotonicMs() + 60_000;
    while (open.size > 0 && systemClock.monotonicMs() < deadline) {
      await mine(1);
      await systemClock.sleep(150);
      for (const id of open) if ((await payment(id))['status'] === 'paid_out') open.delete(id);
    }
    expect([...open]).toEqual([]);
    const timelines = await Promise.all(ids.map(async (id) => ((await payment(id))['timeline'] as { status: string }[]).map(({ status }) => status)));
    for (const timeline of timelines) {
      const steps = timeline.filter((status) => ['confirmed', 'reorged', 'collected', 'paid_out'].includes(status));
      const blocks = steps.slice(0, -2);
      expect(steps.slice(-2)).toEqual(['collected', 'paid_out']);
      blocks.forEach((status, i) => {
        expect(status).toBe(i % 2 === 0 ? 'confirmed' : 'reorged');
      });
    }
    // The storm has really hit them.
    expect(timelines.filter((timeline) => timeline.includes('reorged')).length).toBeGreaterThan(4);
    const total = AMOUNT * BigInt(ids.length);
    expect(await tokenBalances(system, [merchant.payoutAddress, system.deployment.vault])).toEqual([(before[0] ?? 0n) + total, 0n]);
    expect(await authorizationsUsed(system)).toEqual({ used: 1 + ids.length, twice: 0 });
    await owes({ pending: '0', payable: '0', inBatch: '0', paidOut: (AMOUNT + total).toString() });
    await mine(FINALITY_DEPTH);
    expect(await ledgerView(system)).toMatchObject({ sumOfPostings: '0', merchantPayable: '0', vaultBalanceOnLedger: '0', breaks: 0 });
    expect(told('payment.disputed')).toEqual([]);
  }, 180_000);

  it('says so, loudly and to everybody, when the chain takes back what was final, and pays that merchant no more', async () => {
    const id = await pay(deep, 'deep');
    await mineNext();
    await reaches(id, 'confirmed');
    const deadline = systemClock.monotonicMs() + 30_000;
    while ((await payment(id))['status'] !== 'paid_out' && systemClock.monotonicMs() < deadline) {
      await mine(1);
      await systemClock.sleep(100);
    }
    const { blockNumber } = (await payment(id))['confirmation'] as { blockNumber: number };
    // A violation is told once the new chain is as deep above the lost block as finality asks, and there is no block after these.
    await mine(FINALITY_DEPTH + 1);
    // The collection and the payout, each as final as this chain gets.
    await rpc.call('anvil_reorg', [Number(await rpc.call('eth_blockNumber', [])) - blockNumber + 1, []]);
    await expect.poll(async () => ((await payment(id))['dispute'] as { code: string } | null)?.code, { timeout: 30_000, interval: 100 }).toBe('FINALITY_VIOLATED');
    expect((await payment(id))['status']).toBe('paid_out');
    await expect.poll(() => told('payment.disputed').map(({ data }) => data['id']), { timeout: 30_000, interval: 50 }).toEqual([id]);
    expect(await api.submit('POST', '/v1/refunds', { payment: id, reason: 'too late' }, 'refund-disputed')).toMatchObject({ status: 409, body: { code: 'PAYMENT_DISPUTED' } });
    await expect.poll(async () => ((await api.request('GET', '/v1/balance')).body['balances'] as { payoutHold: string | null }[])[0]?.payoutHold, { timeout: 30_000, interval: 50 }).toBe('FINALITY_VIOLATED');
    await expect.poll(async () => (await batches())[0]?.reason, { timeout: 30_000, interval: 50 }).toBe('FINALITY_VIOLATED');
  }, 120_000);
});

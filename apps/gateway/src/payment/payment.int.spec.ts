import { randomUUID } from 'node:crypto';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { MerchantId } from '@settlement/kernel/ids';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expire, finalize, include, payOut, payRefund, rejectRefund, reorg } from '../../test/relayer-facts';
import {
  createMerchant, newPayer, paymentBody, sign, startGateway, startSurroundings, until, VAULT,
  type Answer, type Json, type RunningGateway, type Surroundings, type TestMerchant,
} from '../../test/running-gateway';
import { paymentIdOf, peerIdsOf } from './payment-id';

let around: Surroundings;
let gateway: RunningGateway;
let merchant: TestMerchant;

beforeAll(async () => {
  around = await startSurroundings();
  gateway = await startGateway(around);
  merchant = await createMerchant(gateway);
});

afterAll(async () => {
  await gateway?.stop();
  await around?.stop();
});

const post = (path: string, body: unknown, idempotencyKey: string = randomUUID()): Promise<Answer> => gateway.call('POST', path, { key: merchant.key, idempotencyKey, body });
const get = (path: string): Promise<Answer> => gateway.call('GET', path, { key: merchant.key });
const reaches = (id: string, status: string): Promise<Json> =>
  until(async () => {
    const { body } = await get(`/v1/payments/${id}`);
    return body.status === status ? body : undefined;
  });

describe('a payment', () => {
  it('goes from acceptance over submission, collection and payout to a refund', async () => {
    const payer = newPayer();
    const created = await post('/v1/payments', paymentBody(payer));
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({ status: 'accepted', amount: '1250000', token: 'USDC', payer: payer.address, refusal: null });
    const { id } = created.body;
    await reaches(id, 'submitted');
    expect(around.peers.intents.get(id.replace('pay_', 'int_'))?.subjectId).toBe(id);

    const transactionHash = await finalize(around.relayerLog, [{ paymentId: id }]);
    expect(await reaches(id, 'collected')).toMatchObject({ transactionHash, refundableAmount: '1250000' });
    await payOut(around.batchLog, merchant.id, [id]);
    await reaches(id, 'paid_out');

    const refund = await post('/v1/refunds', { payment: id, amount: '250000', reason: 'one of two books' });
    expect(refund.status).toBe(201);
    expect(refund.body).toMatchObject({ object: 'refund', payment: id, status: 'pending', amount: '250000' });
    await payRefund(around.batchLog, id, refund.body.id);
    await until(async () => ((await get(`/v1/refunds/${refund.body.id}`)).body.status === 'succeeded' ? true : undefined));
    const rest = await post('/v1/refunds', { payment: id, reason: 'the other one' });
    expect(rest.body).toMatchObject({ amount: '1000000', status: 'pending' });
    await rejectRefund(around.batchLog, id, rest.body.id, 'INSUFFICIENT_BALANCE');
    const after = await until(async () => {
      const { body } = await get(`/v1/payments/${id}`);
      return body.refundingAmount === '0' ? body : undefined;
    });
    expect(after).toMatchObject({ refundedAmount: '250000', refundableAmount: '1000000' });
    expect(after.timeline.map((entry: Json) => entry.status)).toEqual([
      'awaiting_authorization', 'accepted', 'screened', 'sponsored', 'submitted', 'collected', 'paid_out',
      'refund_requested', 'refund_succeeded', 'refund_requested', 'refund_failed',
    ]);
  });

  it('without an authorization asks the payer to sign, and is accepted with the signature', async () => {
    const payer = newPayer();
    const created = await post('/v1/payments', { ...paymentBody(payer), authorization: undefined, payer: payer.address });
    expect(created.status).toBe(201);
    const { id, typedData, preview } = created.body;
    expect(created.body.status).toBe('awaiting_authorization');
    expect(typedData.primaryType).toBe('ReceiveWithAuthorization');
    expect(typedData.message).toMatchObject({ from: payer.address, to: VAULT, value: '1250000', validAfter: '0' });
    expect(preview).toMatchObject({ function: 'receiveWithAuthorization', amount: '1.25', token: 'USDC', payee: 'Blue Bottle Books' });

    const { message } = typedData;
    const signed = sign(payer, message.value, { nonce: message.nonce, validBefore: Number(message.validBefore) });
    const other = await post(`/v1/payments/${id}/authorization`, sign(payer, message.value));
    expect(other).toMatchObject({ status: 422, body: { code: 'AUTHORIZATION_WRONG_NONCE', errors: [{ path: 'nonce' }] } });
    const key = randomUUID();
    const accepted = await post(`/v1/payments/${id}/authorization`, signed, key);
    expect(accepted).toMatchObject({ status: 200, body: { status: 'accepted', payer: payer.address } });
    const repeated = await post(`/v1/payments/${id}/authorization`, signed, key);
    expect(repeated.status).toBe(200);
    expect(repeated.headers.get('idempotent-replayed')).toBe('true');
    expect(repeated.body).toEqual(accepted.body);
    const again = await post(`/v1/payments/${id}/authorization`, signed);
    expect(again).toMatchObject({ status: 409, body: { code: 'PAYMENT_ALREADY_AUTHORIZED' } });
    await reaches(id, 'submitted');
  });

  it('of a sanctioned payer is refused at screening, of a doubtful one held, and neither reaches paymaster or relayer', async () => {
    const bad = newPayer();
    const doubtful = newPayer();
    around.peers.sanctioned.add(bad.address);
    around.peers.heldAddresses.add(doubtful.address);
    const refused = (await post('/v1/payments', paymentBody(bad))).body.id;
    const held = (await post('/v1/payments', paymentBody(doubtful))).body.id;
    expect(await reaches(refused, 'refused')).toMatchObject({ refusal: { stage: 'screening', code: 'SANCTIONED_ADDRESS' } });
    expect(await reaches(held, 'held')).toMatchObject({ hold: { reason: 'NAME_MATCH' } });
    for (const id of [refused, held]) {
      expect(around.peers.reservations.has(id.replace('pay_', 'rsv_'))).toBe(false);
      expect(around.peers.intents.has(id.replace('pay_', 'int_'))).toBe(false);
    }
  });

  it('without gas budget is refused at sponsorship, and one that the relayer refuses gives its gas back', async () => {
    const poor = await createMerchant(gateway, { sponsorId: 'spo_poor' });
    around.peers.brokeSponsors.add('spo_poor');
    const created = await gateway.call('POST', '/v1/payments', { key: poor.key, idempotencyKey: randomUUID(), body: paymentBody(newPayer()) });
    const unsponsored = await until(async () => {
      const { body } = await gateway.call('GET', `/v1/payments/${created.body.id}`, { key: poor.key });
      return body.status === 'refused' ? body : undefined;
    });
    expect(unsponsored.refusal).toMatchObject({ stage: 'sponsorship', code: 'SPONSOR_BUDGET_EXCEEDED' });

    const payer = newPayer();
    around.peers.unrelayable.add(payer.address);
    const { id } = (await post('/v1/payments', paymentBody(payer))).body;
    expect(await reaches(id, 'refused')).toMatchObject({ refusal: { stage: 'relay', code: 'MALFORMED' } });
    expect(around.peers.released.has(id.replace('pay_', 'rsv_'))).toBe(true);
  });

  it('that fails on the chain or runs out before it is refused at collection with the chain’s reason', async () => {
    const failed = (await post('/v1/payments', paymentBody(newPayer()))).body.id;
    const expired = (await post('/v1/payments', paymentBody(newPayer()))).body.id;
    await reaches(failed, 'submitted');
    await reaches(expired, 'submitted');
    await finalize(around.relayerLog, [{ paymentId: failed, reason: IntentReason.INTENT_REASON_INSUFFICIENT_FUNDS }]);
    await expire(around.relayerLog, expired);
    expect(await reaches(failed, 'refused')).toMatchObject({ refusal: { stage: 'collection', code: 'INSUFFICIENT_FUNDS' } });
    expect(await reaches(expired, 'refused')).toMatchObject({ refusal: { stage: 'collection', code: 'AUTHORIZATION_EXPIRED' } });
  });

  it('is confirmed by a block, waits again when the chain takes the block back, and is collected by the one that stays', async () => {
    const { id } = (await post('/v1/payments', paymentBody(newPayer()))).body;
    expect(await reaches(id, 'submitted')).toMatchObject({ confirmation: null, takenBack: [], dispute: null });
    const transactionHash = await include(around.relayerLog, [{ paymentId: id }]);
    expect(await reaches(id, 'confirmed')).toMatchObject({ transactionHash: null, refundableAmount: '0', confirmation: { transactionHash, blockNumber: 42, final: false } });
    expect(await post('/v1/refunds', { payment: id, reason: 'a change of mind' })).toMatchObject({ status: 409, body: { code: 'PAYMENT_NOT_COLLECTED', paymentStatus: 'confirmed' } });
    expect((await get('/v1/payments?status=confirmed')).status).toBe(200);

    await reorg(around.relayerLog, [{ paymentId: id }], transactionHash);
    expect(await reaches(id, 'submitted')).toMatchObject({ confirmation: null, takenBack: [{ transactionHash, blockNumber: 42 }] });
    // Another transaction, in another partition of the relayer's log, is the one in the end.
    const other = await include(around.relayerLog, [{ paymentId: id }]);
    await reaches(id, 'confirmed');
    await finalize(around.relayerLog, [{ paymentId: id }], other);
    const after = await reaches(id, 'collected');
    expect(after).toMatchObject({ transactionHash: other, confirmation: { transactionHash: other, final: true } });
    expect(after.timeline.slice(4).map((entry: Json) => entry.status)).toEqual(['submitted', 'confirmed', 'reorged', 'confirmed', 'collected']);
  });

  it('that the chain takes back after it was final is disputed, and not refunded', async () => {
    const { id } = (await post('/v1/payments', paymentBody(newPayer()))).body;
    await reaches(id, 'submitted');
    const transactionHash = await finalize(around.relayerLog, [{ paymentId: id }]);
    await reaches(id, 'collected');
    await reorg(around.relayerLog, [{ paymentId: id }], transactionHash);
    const disputed = await until(async () => {
      const { body } = await get(`/v1/payments/${id}`);
      return body.dispute === null ? undefined : body;
    });
    expect(disputed).toMatchObject({ status: 'collected', dispute: { code: 'FINALITY_VIOLATED', transactionHash } });
    expect(await post('/v1/refunds', { payment: id, reason: 'a change of mind' })).toMatchObject({ status: 409, body: { code: 'PAYMENT_DISPUTED' } });
  });

  it('goes on with the gas that an earlier try has reserved, also when the ceiling has moved since', async () => {
    const reference = randomUUID();
    const id = paymentIdOf(merchant.id as MerchantId, reference);
    const { reservationId } = peerIdsOf(id);
    around.peers.reservations.set(reservationId, '123');
    expect((await post('/v1/payments', paymentBody(newPayer(), { reference }))).body.id).toBe(id);
    await reaches(id, 'submitted');
    expect(around.peers.reservations.get(reservationId)).toBe('123');
  });

  it('waits while a peer is down and goes on by itself, with nothing refused and nothing asked for twice', async () => {
    for (const peer of ['relayer', 'paymaster', 'screening'] as const) {
      around.peers.down.add(peer);
      const { id } = (await post('/v1/payments', paymentBody(newPayer()))).body;
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect((await get(`/v1/payments/${id}`)).body.status).toBe('accepted');
      around.peers.down.delete(peer);
      const submitted = await reaches(id, 'submitted');
      expect(submitted.timeline.filter((entry: Json) => entry.status === 'submitted')).toHaveLength(1);
    }
  });

  it('shows in the list, page by page, newest first, filtered by status and reference', async () => {
    const own = await createMerchant(gateway);
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1) {
      const answer = await gateway.call('POST', '/v1/payments', { key: own.key, idempotencyKey: randomUUID(), body: paymentBody(newPayer(), { reference: `list-${i}` }) });
      ids.unshift(answer.body.id);
    }
    await gateway.caughtUp();
    const list = (query: string): Promise<Answer> => gateway.call('GET', `/v1/payments${query}`, { key: own.key });
    const first = await list('?limit=2');
    const second = await list(`?limit=2&cursor=${first.body.nextCursor}`);
    const third = await list(`?limit=2&cursor=${second.body.nextCursor}`);
    expect([first, second, third].flatMap(({ body }) => body.data.map((payment: Json) => payment.id))).toEqual(ids);
    expect(third.body.nextCursor).toBeNull();
    expect((await list('?reference=list-3')).body.data).toHaveLength(1);
    await until(async () => ((await list('?status=submitted')).body.data.length === 5 ? true : undefined));
    expect((await list('?status=held')).body.data).toEqual([]);
  });
});

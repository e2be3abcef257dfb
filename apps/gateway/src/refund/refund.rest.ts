import { fold } from '@settlement/kernel/decider';
import { parsePaymentId, parseRefundId, type IdSource, type RefundId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { Pool } from 'pg';
import { z } from 'zod';
import { Problem } from '../http/problem';
import { json, route, type Route } from '../http/route';
import { amountSchema, textSchema } from '../http/schemas';
import type { CommandIntake } from '../idempotency/command-intake';
import { paymentCodec } from '../payment/payment.codec';
import { paymentDecider, type PaymentRejection, type PaymentState } from '../payment/payment.decider';
import { paymentStream } from '../payment/payment.events';
import type { LoadedPayment, PaymentReader } from '../payment/payment-reader';
import { refundResource, refundSchema, type RefundResource } from '../payment/payment.resource';
import { existing, idSchema, settled } from '../payment/payment.rest';

export interface RefundRoutesOptions {
  readonly intake: CommandIntake;
  readonly reader: PaymentReader;
  readonly database: Pool;
  readonly clock: Clock;
  readonly ids: IdSource;
}

/** Each try reads anew; that many concurrent refunds of one payment are a script gone wrong. */
const TRIES_MAX = 64;

const createBody = z.strictObject({
  payment: idSchema('pay', parsePaymentId),
  amount: amountSchema.optional().meta({ description: 'Minor units; what is left of the payment when absent.' }),
  reason: textSchema(500, 'For your own records. Must not hold personal data.'),
});

export function refundRoutes(options: RefundRoutesOptions): readonly Route[] {
  return [createRefund(options), getRefund(options)];
}

function createRefund({ intake, reader, clock, ids }: RefundRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/refunds',
    access: { kind: 'merchant', scope: 'refunds:write' },
    idempotent: true,
    body: createBody,
    documentation: {
      operationId: 'createRefund',
      tag: 'Refunds',
      summary: 'Refund a payment, wholly or in part',
      description: "Goes back to the payer's address. Refunds of a payment never exceed it, also when many are asked for at once.",
      answers: { 201: { description: 'Requested, durably.', schema: refundSchema } },
      problems: ['PAYMENT_NOT_FOUND', 'PAYMENT_NOT_COLLECTED', 'PAYMENT_DISPUTED', 'REFUND_EXCEEDS_PAYMENT', 'NOTHING_TO_REFUND', 'CONCURRENT_CHANGE'],
    },
    handle: async ({ body, caller, idempotency, traceparent }) => {
      const refundId = ids.next('ref') as RefundId;
      for (let attempt = 1; attempt <= TRIES_MAX; attempt += 1) {
        const payment = await existing(reader, body.payment, caller);
        const { terms } = payment.state;
        const decision = paymentDecider.decide(
          { type: 'RequestRefund', refundId, reason: body.reason, nowNs: clock.nowNs(), ...(body.amount === undefined ? {} : { amount: body.amount }) },
          payment.state,
        );
        if (decision.kind === 'rejected') throw refusal(decision.rejection);
        const answer = json(201, resourceIn(fold(paymentDecider, decision.events, payment.state), refundId), { location: `/v1/refunds/${refundId}` });
        const outcome = await intake.submit({
          claim: idempotency,
          answer,
          append: {
            streamId: paymentStream(terms.paymentId),
            expectedVersion: payment.version,
            commandId: `refund:${idempotency.key}`,
            events: decision.events.map((event) => paymentCodec.encode(event)),
            traceparent,
          },
          effects: async (tx) => {
            await tx.query('INSERT INTO gateway.refund (refund_id, payment_id, merchant_id) VALUES ($1, $2, $3)', [refundId, terms.paymentId, terms.merchantId]);
          },
        });
        if (outcome.kind !== 'conflict') return settled(outcome, answer);
      }
      throw new Problem('CONCURRENT_CHANGE', 'The payment kept changing. Repeat the request with the same Idempotency-Key.');
    },
  });
}

function getRefund({ reader, database }: RefundRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/refunds/{id}',
    access: { kind: 'merchant', scope: 'refunds:read' },
    params: z.strictObject({ id: idSchema('ref', parseRefundId) }),
    documentation: {
      operationId: 'getRefund',
      tag: 'Refunds',
      summary: 'Read a refund',
      answers: { 200: { description: 'The refund as the log has it.', schema: refundSchema } },
      problems: ['REFUND_NOT_FOUND'],
    },
    handle: async ({ params: { id }, caller }) => {
      const payment = id === undefined ? undefined : await paymentOf(id, caller.merchant.merchantId, database, reader);
      const resource = payment === undefined || id === undefined ? undefined : resourceIn(payment.state, id);
      if (resource === undefined) throw new Problem('REFUND_NOT_FOUND', 'There is no such refund of this merchant.');
      return json(200, resource);
    },
  });
}

async function paymentOf(refundId: RefundId, merchantId: LoadedPayment['state']['terms']['merchantId'], database: Pool, reader: PaymentReader): Promise<LoadedPayment | undefined> {
  const { rows } = await database.query<{ payment_id: string }>('SELECT payment_id FROM gateway.refund WHERE refund_id = $1 AND merchant_id = $2', [refundId, merchantId]);
  const parsed = parsePaymentId(rows[0]?.payment_id);
  return parsed.ok ? reader.load(parsed.value, merchantId) : undefined;
}

function resourceIn(state: PaymentState, refundId: RefundId): RefundResource | undefined {
  if (state.status !== 'collected' && state.status !== 'paid_out') return undefined;
  const refund = state.refunds.get(refundId);
  return refund === undefined ? undefined : refundResource(state.terms, refundId, refund);
}

function refusal(rejection: PaymentRejection): Problem {
  switch (rejection.code) {
    case 'REFUND_EXCEEDS_PAYMENT':
      return new Problem('REFUND_EXCEEDS_PAYMENT', `At most ${rejection.refundable} can be refunded now.`, {
        errors: [{ path: 'amount', message: `expected at most ${rejection.refundable}` }],
        facts: { refundableAmount: rejection.refundable.toString() },
      });
    case 'PAYMENT_DISPUTED':
      return new Problem('PAYMENT_DISPUTED', 'The chain took back the block that held this payment after it was final. A person is looking into it.', { facts: { disputeCode: rejection.dispute.code } });
    case 'PAYMENT_NOT_COLLECTED':
      return new Problem('PAYMENT_NOT_COLLECTED', `The payment is ${rejection.status}.`, { facts: { paymentStatus: rejection.status } });
    case 'NOTHING_TO_REFUND':
      return new Problem('NOTHING_TO_REFUND', 'The payment has been refunded, or refunds of all of it are under way.');
    default:
      return new Problem('CONCURRENT_CHANGE', `The payment does not allow this (${rejection.code}).`);
  }
}

import { parsePaymentId, type PaymentId } from '@settlement/kernel/ids';
import type { Money } from '@settlement/kernel/money';
import { nsToSeconds, type Clock, type UnixNs } from '@settlement/kernel/time';
import type { EventStore } from '@settlement/event-store/port';
import { paymentNonce } from '@settlement/chain/payment-nonce';
import { z } from 'zod';
import { encodeCursor } from '../http/cursor';
import { keyReused } from '../http/api-server';
import { fieldProblem, Problem } from '../http/problem';
import { json, route, type Route, type RouteAnswer } from '../http/route';
import { addressSchema, amountSchema, bytes32Schema, chainIdSchema, cursorSchema, limitSchema, signatureSchema, textSchema, unixSecondsSchema } from '../http/schemas';
import type { CommandIntake, IntakeOutcome } from '../idempotency/command-intake';
import type { Caller } from '../merchant/caller';
import type { WalletCode } from '../ports/wallet-code';
import type { PaymentList } from '../ports/payment-list';
import { authorizationDigestOfUse, checkAuthorization } from './authorization.check';
import type { Chain, Chains, Token } from './chains';
import { paymentIdOf } from './payment-id';
import type { PaymentReader } from './payment-reader';
import { paymentCodec } from './payment.codec';
import { paymentDecider, type PaymentCommand, type PaymentState, type PaymentTerms } from './payment.decider';
import { paymentStream, type PaymentEvent } from './payment.events';
import { PAYMENT_STATUSES, paymentResource, paymentSchema, signingRequest } from './payment.resource';

export interface PaymentRoutesOptions {
  readonly store: EventStore;
  readonly intake: CommandIntake;
  readonly reader: PaymentReader;
  readonly list: PaymentList;
  readonly chains: Chains;
  readonly wallets: WalletCode;
  readonly clock: Clock;
}

export const authorizationSchema = z.strictObject({
  from: addressSchema.optional(),
  to: addressSchema.optional(),
  value: amountSchema.optional(),
  validAfter: unixSecondsSchema,
  validBefore: unixSecondsSchema,
  nonce: bytes32Schema,
  signature: signatureSchema,
});

const createBody = z.strictObject({
  amount: amountSchema,
  token: z.string().regex(/^[A-Z][A-Z0-9.]{0,15}$/, 'expected a token symbol such as USDC').meta({ example: 'USDC' }),
  chain: chainIdSchema,
  reference: textSchema(128, "The merchant's own name of this payment, unique for ever. Must not hold personal data."),
  payer: addressSchema.optional(),
  authorization: authorizationSchema.optional(),
});

const idParams = z.strictObject({ id: idSchema('pay', parsePaymentId) });

const listQuery = z.strictObject({
  limit: limitSchema.optional(),
  cursor: cursorSchema.optional(),
  status: z.enum(PAYMENT_STATUSES, `expected one of ${PAYMENT_STATUSES.join(', ')}`).optional(),
  reference: textSchema(128, 'Only the payment with this reference.').optional(),
});

/** uint96, which the vault's packed items hold; 79 octillion minor units are above any supply. */
const AMOUNT_MAX = 2n ** 96n - 1n;

export const authorizationProblems = [
  'AUTHORIZATION_WRONG_PAYER', 'AUTHORIZATION_WRONG_RECIPIENT', 'AUTHORIZATION_WRONG_VALUE', 'AUTHORIZATION_NONCE_REUSED', 'AUTHORIZATION_EXPIRED',
  'AUTHORIZATION_EXPIRES_TOO_SOON', 'AUTHORIZATION_NOT_YET_VALID', 'SIGNATURE_INVALID', 'CHAIN_UNAVAILABLE',
] as const;

export function paymentRoutes(options: PaymentRoutesOptions): readonly Route[] {
  return [createPayment(options), authorizePayment(options), getPayment(options), listPayments(options)];
}

function createPayment({ intake, chains, wallets, clock }: PaymentRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/payments',
    access: { kind: 'merchant', scope: 'payments:write' },
    idempotent: true,
    body: createBody,
    documentation: {
      operationId: 'createPayment',
      tag: 'Payments',
      summary: 'Create a payment',
      description:
        'With `authorization` the payment is accepted at once and is never lost from then on. Without it the answer holds `typedData` for the payer to sign and a `preview` in words.',
      answers: { 201: { description: 'Created, durably.', schema: paymentSchema } },
      problems: ['REFERENCE_ALREADY_USED', 'UNKNOWN_CHAIN', 'UNKNOWN_TOKEN', 'MODE_MISMATCH', 'AMOUNT_ZERO', 'AMOUNT_TOO_LARGE', ...authorizationProblems],
    },
    handle: async ({ body, caller, idempotency, traceparent }) => {
      const { chain, token } = servedBy(chains, body.chain, body.token, caller);
      if (body.amount === 0n) throw fieldProblem('AMOUNT_ZERO', 'amount', 'expected more than zero');
      if (body.amount > AMOUNT_MAX) throw fieldProblem('AMOUNT_TOO_LARGE', 'amount', `expected at most ${AMOUNT_MAX}`, { amountMax: AMOUNT_MAX.toString() });
      const { merchant } = caller;
      const nowNs = clock.nowNs();
      const amount: Money = { token: token.symbol, amount: body.amount };
      const paymentId = paymentIdOf(merchant.merchantId, body.reference);
      const authorization =
        body.authorization === undefined
          ? undefined
          : await checkAuthorization(body.authorization, { chain, token, amount: body.amount, payer: body.payer }, nsToSeconds(nowNs), wallets);
      const terms: Omit<PaymentTerms, 'createdAtNs'> = {
        paymentId,
        merchantId: merchant.merchantId,
        merchantKey: merchant.merchantKey,
        mode: merchant.mode,
        chainId: chain.chainId,
        amount,
        reference: body.reference,
        sponsorId: merchant.sponsorId,
        payoutAddress: merchant.payoutAddress,
      };
      const events = decided({ type: 'CreatePayment', terms, nowNs, ...(authorization === undefined ? {} : { authorization }) }, paymentDecider.initialState);
      const resource = {
        ...paymentResource(events),
        ...(authorization === undefined ? signingRequest({ ...terms, createdAtNs: nowNs }, merchant.displayName, chains, body.payer) : {}),
      };
      const answer = json(201, resource, { location: `/v1/payments/${paymentId}` });
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        append: {
          streamId: paymentStream(paymentId),
          expectedVersion: 'must-not-exist',
          commandId: `create:${idempotency.key}`,
          events: events.map((event) => paymentCodec.encode(event)),
          traceparent,
        },
        ...(authorization === undefined ? {} : { authorizationUse: { digest: authorizationDigestOfUse(chain, token, authorization), paymentId } }),
      });
      if (outcome.kind === 'conflict') {
        throw new Problem('REFERENCE_ALREADY_USED', `The reference belongs to ${paymentId}. A new payment needs a new reference.`, {
          errors: [{ path: 'reference', message: 'is in use' }],
          facts: { payment: paymentId },
        });
      }
      return settled(outcome, answer);
    },
  });
}

function authorizePayment({ intake, reader, chains, wallets, clock }: PaymentRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/payments/{id}/authorization',
    access: { kind: 'merchant', scope: 'payments:write' },
    idempotent: true,
    params: idParams,
    body: authorizationSchema,
    documentation: {
      operationId: 'authorizePayment',
      tag: 'Payments',
      summary: "Hand in the payer's signature",
      description: 'The authorization that the payer signed over `typedData`. The validity period may differ from the proposed one.',
      answers: { 200: { description: 'Accepted, durably.', schema: paymentSchema } },
      problems: ['PAYMENT_NOT_FOUND', 'PAYMENT_ALREADY_AUTHORIZED', 'UNKNOWN_CHAIN', 'UNKNOWN_TOKEN', 'AUTHORIZATION_WRONG_NONCE', 'CONCURRENT_CHANGE', ...authorizationProblems],
    },
    handle: async ({ params, body, caller, idempotency, traceparent }) => {
      const payment = await existing(reader, params.id, caller);
      const { terms } = payment.state;
      if (payment.state.status !== 'awaiting_authorization') throw alreadyAuthorized(payment.state.status);
      const { chain, token } = servedBy(chains, terms.chainId, terms.amount.token, caller);
      const nowNs = clock.nowNs();
      const nonce = paymentNonce({ chainId: chain.eip155, vault: chain.vault, merchantKey: terms.merchantKey, paymentId: terms.paymentId });
      const authorization = await checkAuthorization(body, { chain, token, amount: terms.amount.amount, nonce }, nsToSeconds(nowNs), wallets).catch(atRoot);
      const events = decided({ type: 'AuthorizePayment', authorization, nowNs }, payment.state);
      const answer = json(200, paymentResource([...payment.events, ...events]));
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        append: {
          streamId: paymentStream(terms.paymentId),
          expectedVersion: payment.version,
          commandId: `authorize:${idempotency.key}`,
          events: events.map((event) => paymentCodec.encode(event)),
          traceparent,
        },
        authorizationUse: { digest: authorizationDigestOfUse(chain, token, authorization), paymentId: terms.paymentId },
      });
      // Only another authorization can have come in between.
      if (outcome.kind === 'conflict') throw alreadyAuthorized('accepted');
      return settled(outcome, answer);
    },
  });
}

function getPayment({ reader, chains }: PaymentRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/payments/{id}',
    access: { kind: 'merchant', scope: 'payments:read' },
    params: idParams,
    documentation: {
      operationId: 'getPayment',
      tag: 'Payments',
      summary: 'Read a payment',
      answers: { 200: { description: 'The payment as the log has it.', schema: paymentSchema } },
      problems: ['PAYMENT_NOT_FOUND'],
    },
    handle: async ({ params, caller }) => {
      const payment = await existing(reader, params.id, caller);
      const signing = payment.state.status === 'awaiting_authorization' ? signingRequest(payment.state.terms, caller.merchant.displayName, chains) : undefined;
      return json(200, { ...paymentResource(payment.events), ...signing });
    },
  });
}

function listPayments({ reader, list }: PaymentRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/payments',
    access: { kind: 'merchant', scope: 'payments:read' },
    query: listQuery,
    documentation: {
      operationId: 'listPayments',
      tag: 'Payments',
      summary: 'List payments, newest first',
      description: 'The list follows the log within moments; a payment that was just created is read by its id at once.',
      answers: {
        200: {
          description: 'A page.',
          schema: z.object({ object: z.literal('list'), data: z.array(paymentSchema), nextCursor: z.string().nullable() }).meta({ id: 'PaymentPage' }),
        },
      },
      problems: ['INVALID_CURSOR'],
    },
    handle: async ({ query, caller }) => {
      const { merchantId } = caller.merchant;
      const limit = query.limit ?? 20;
      // One more than asked for tells whether there is a next page.
      const found = await list.page({ merchantId, limit: limit + 1, after: query.cursor, status: query.status, reference: query.reference });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      const payments = await reader.loadMany(page.map(({ paymentId }) => paymentId), merchantId);
      return json(200, {
        object: 'list',
        data: payments.map(({ events }) => paymentResource(events)),
        nextCursor: found.length > limit && last !== undefined ? encodeCursor({ createdAtNs: last.createdAtNs, id: last.paymentId }) : null,
      });
    },
  });
}

/** An id in a path. What is no id at all names nothing, so the answer is the same as for one that is not there: 404 follows. */
export function idSchema<T extends string>(prefix: string, parse: (text: unknown) => { readonly ok: boolean; readonly value?: T }) {
  return z
    .string()
    .transform((text): T | undefined => {
      const result = parse(text);
      return result.ok ? result.value : undefined;
    })
    .meta({ type: 'string', example: `${prefix}_01jd3v8x0s9m6q4f2r7t5w1z8k` });
}

export async function existing(reader: PaymentReader, paymentId: PaymentId | undefined, caller: Caller) {
  const payment = paymentId === undefined ? undefined : await reader.load(paymentId, caller.merchant.merchantId);
  if (payment === undefined) throw new Problem('PAYMENT_NOT_FOUND', 'There is no such payment of this merchant.');
  return payment;
}

/** The stored or fresh answer; a `Problem` for the rest. Conflicts are the caller's to interpret. */
export function settled(outcome: Exclude<IntakeOutcome, { kind: 'conflict' }>, answer: RouteAnswer): RouteAnswer {
  switch (outcome.kind) {
    case 'done':
      return answer;
    case 'replayed':
      return outcome.answer;
    case 'key-reused':
      throw keyReused();
    case 'authorization-used':
      throw new Problem('AUTHORIZATION_NONCE_REUSED', 'This authorization was handed in for another payment.', {
        errors: [{ path: 'authorization.nonce', message: 'is in use' }],
      });
  }
}

function servedBy(chains: Chains, chainId: string, symbol: string, caller: Caller): { readonly chain: Chain; readonly token: Token } {
  const { merchant } = caller;
  const chain = chains.get(chainId);
  if (chain === undefined) throw fieldProblem('UNKNOWN_CHAIN', 'chain', `expected one of ${[...chains.keys()].join(', ')}`);
  if (chain.mode !== merchant.mode) throw fieldProblem('MODE_MISMATCH', 'chain', `is a ${chain.mode} chain, the key is for ${merchant.mode}`);
  if (chain.chainId !== merchant.chainId) throw fieldProblem('UNKNOWN_CHAIN', 'chain', `expected ${merchant.chainId}, where this merchant is paid`);
  const token = chain.tokens.get(symbol);
  if (token === undefined) throw fieldProblem('UNKNOWN_TOKEN', 'token', `expected one of ${[...chain.tokens.keys()].join(', ')}`);
  return { chain, token };
}

function decided(command: PaymentCommand & { readonly nowNs: UnixNs }, state: PaymentState): readonly PaymentEvent[] {
  const decision = paymentDecider.decide(command, state);
  if (decision.kind === 'accepted') return decision.events;
  throw new Problem('CONCURRENT_CHANGE', `The payment changed meanwhile (${decision.rejection.code}). Read it and decide anew.`);
}

function alreadyAuthorized(status: string): Problem {
  return new Problem('PAYMENT_ALREADY_AUTHORIZED', 'The payment has an authorization already.', { facts: { paymentStatus: status } });
}

/** On this route the authorization is the whole body, so its fields stand at the root. */
function atRoot(error: unknown): never {
  if (!(error instanceof Problem) || error.errors === undefined) throw error;
  const errors = error.errors.map(({ path, message }) => ({ path: path.replace(/^authorization\./, ''), message }));
  throw new Problem(error.code, error.detail.replace(/^authorization\./, ''), { errors, facts: error.facts, headers: error.headers });
}

import type { CallOrigin } from '../ports/screener';
import type { DirectRelayer } from '../ports/direct-relayer';
import { json, route, type Access, type Route, type RouteAnswer } from '../http/route';
import { OperationalError } from '@settlement/kernel/errors';
import type { Logger } from '@settlement/observability/logger';
import { Counter, type Registry } from 'prom-client';
import { z } from 'zod';
import type { Facilitator } from './facilitator';
import type { Networks } from './networks';
import { readPayment, type Refusal } from './read-payment';
import { OWN_REASONS, SDK_REASONS } from './reasons';

export interface FacilitatorRoutesOptions {
  readonly facilitator: Facilitator;
  readonly networks: Networks;
  readonly relayer: DirectRelayer;
  readonly access: Access;
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** Said to be supported only because it is: see docs/x402.md. */
const EXTENSIONS = ['payment-identifier'] as const;
const RETRY_AFTER_SECONDS = 5;

const anything = z.looseObject({});
const request = z
  .looseObject({
    x402Version: z.union([z.literal(1), z.literal(2), z.number()]).optional().meta({ description: 'Repeats that of the payload.' }),
    paymentPayload: anything.meta({ description: 'What the client sent: `X-PAYMENT` of version 1, `PAYMENT-SIGNATURE` of version 2, decoded.' }),
    paymentRequirements: anything.meta({ description: 'The offer that the payload is for, as the resource server made it.' }),
  })
  .meta({ description: 'As the x402 protocol defines it, version 1 or 2, scheme `exact` on EVM chains.' });

const verifyAnswer = z.object({
  isValid: z.boolean(),
  invalidReason: z.string().optional().meta({ description: 'Stable; docs/x402.md lists them all.' }),
  invalidMessage: z.string().optional().meta({ description: 'For a person.' }),
  payer: z.string().optional(),
});

const settleAnswer = z.object({
  success: z.boolean(),
  errorReason: z.string().optional().meta({ description: 'Stable; docs/x402.md lists them all. `settlement_pending`: the outcome is open; post the identical payload again.' }),
  errorMessage: z.string().optional().meta({ description: 'For a person.' }),
  transaction: z.string().meta({ description: 'Hash of the transaction that paid, or of the latest one while pending; empty without one.' }),
  network: z.string(),
  payer: z.string().optional(),
});

const supportedAnswer = z.object({
  kinds: z.array(z.object({ x402Version: z.number(), scheme: z.literal('exact'), network: z.string() })),
  extensions: z.array(z.string()),
  signers: z.record(z.string(), z.array(z.string())).meta({ description: 'Addresses that send the transactions, by CAIP-2 family.' }),
});

/** `/x402/verify`, `/x402/settle` and `/x402/supported`: what a resource server's facilitator URL ends before. */
export function facilitatorRoutes({ facilitator, networks, relayer, access, logger, metrics }: FacilitatorRoutesOptions): readonly Route[] {
  const answers = new Counter({
    name: 'gateway_x402_answers_total',
    help: 'Answers to x402 verify and settle requests, by what they said; reasons are those of docs/x402.md.',
    labelNames: ['operation', 'answer'],
    registers: [metrics],
  });
  const said = (operation: 'verify' | 'settle', answer: string): void => {
    answers.inc({ operation, answer });
  };
  return [
    route({
      method: 'POST',
      path: '/x402/verify',
      access,
      body: request,
      documentation: {
        operationId: 'verifyX402Payment',
        tag: 'x402',
        summary: 'Says whether an x402 payment could be settled now',
        description: 'Reads the chain and changes nothing. A refusal is an answer with `isValid` false and HTTP 200.',
        answers: { 200: { description: 'The verdict.', schema: verifyAnswer }, 503: { description: 'Chain or log could not be asked; nothing is said about the payment.', schema: verifyAnswer } },
        problems: [],
      },
      async handle({ body }) {
        const read = readPayment(body.paymentPayload, body.paymentRequirements, networks);
        if (!read.ok) {
          said('verify', read.refusal.reason);
          return json(200, invalid(read.refusal));
        }
        const { payerText: payer } = read.terms;
        try {
          const verdict = await facilitator.verify(read.terms);
          said('verify', verdict.valid ? 'valid' : verdict.reason);
          return json(200, verdict.valid ? { isValid: true, payer } : invalid({ ...verdict, payer }));
        } catch (error) {
          if (!(error instanceof OperationalError)) throw error;
          logger.warn({ err: error }, 'an x402 payment could not be verified');
          said('verify', OWN_REASONS.unavailable);
          return unavailable({ isValid: false, invalidReason: OWN_REASONS.unavailable, invalidMessage: error.code, payer });
        }
      },
    }),
    route({
      method: 'POST',
      path: '/x402/settle',
      awaitsChain: true,
      access,
      body: request,
      documentation: {
        operationId: 'settleX402Payment',
        tag: 'x402',
        summary: 'Settles an x402 payment, once',
        description:
          'The same payload is answered the same, however often and from wherever it is posted: one transaction, its hash. ' +
          'A refusal is an answer with `success` false and HTTP 200; 503 means that nothing was sent and that the same payload may be posted again.',
        answers: { 200: { description: 'Settled, refused or pending.', schema: settleAnswer }, 503: { description: 'Nothing was sent.', schema: settleAnswer } },
        problems: [],
      },
      async handle({ body, traceparent }) {
        const read = readPayment(body.paymentPayload, body.paymentRequirements, networks);
        if (!read.ok) {
          said('settle', read.refusal.reason);
          return json(200, { success: false, errorReason: read.refusal.reason, ...message('errorMessage', read.refusal.message), transaction: '', network: read.refusal.network ?? '', ...payerOf(read.refusal) });
        }
        const { network, payerText: payer } = read.terms;
        const settlement = await facilitator.settle(read.terms, traceparent);
        said('settle', settlement.kind === 'refused' ? settlement.reason : settlement.kind);
        switch (settlement.kind) {
          case 'settled':
            return json(200, { success: true, transaction: settlement.transactionHash, network, payer });
          case 'refused':
            return json(200, { success: false, errorReason: settlement.reason, ...message('errorMessage', settlement.message), transaction: '', network, payer });
          case 'pending':
            return json(200, { success: false, errorReason: SDK_REASONS.pending, errorMessage: 'The outcome is open. Post the identical payload again.', transaction: settlement.transactionHash, network, payer });
          case 'unavailable':
            return unavailable({ success: false, errorReason: OWN_REASONS.unavailable, errorMessage: settlement.message, transaction: '', network, payer });
        }
      },
    }),
    route({
      method: 'GET',
      path: '/x402/supported',
      // Says nothing that is not public, and SDKs ask it before they authenticate.
      access: { kind: 'public' },
      documentation: {
        operationId: 'supportedX402Payments',
        tag: 'x402',
        summary: 'What this facilitator settles',
        answers: { 200: { description: 'Kinds of payment, extensions and signers.', schema: supportedAnswer } },
        problems: [],
      },
      async handle({ traceparent }) {
        const origin: CallOrigin = { signal: AbortSignal.timeout(2_000), traceparent };
        const signers = new Set<string>();
        for (const { chainId } of networks.chains) {
          try {
            for (const signer of await relayer.signers(chainId, origin)) signers.add(signer);
          } catch (error) {
            // For information only: what is supported does not depend on who signs, so no failure of this one counts.
            logger.warn({ err: error, chainId }, 'the relayer did not say who signs');
          }
        }
        const kinds = networks.chains.flatMap(({ chainId, v1Names }) => [
          { x402Version: 2, scheme: 'exact', network: chainId },
          ...v1Names.map((network) => ({ x402Version: 1, scheme: 'exact', network })),
        ]);
        return json(200, { kinds, extensions: EXTENSIONS, signers: { 'eip155:*': [...signers] } });
      },
    }),
  ];
}

const message = (field: 'invalidMessage' | 'errorMessage', text: string | undefined): Record<string, string> => (text === undefined ? {} : { [field]: text });
const payerOf = ({ payer }: Refusal): { payer?: string } => (payer === undefined ? {} : { payer });

function invalid(refusal: Refusal): unknown {
  return { isValid: false, invalidReason: refusal.reason, ...message('invalidMessage', refusal.message), ...payerOf(refusal) };
}

function unavailable(body: unknown): RouteAnswer {
  return json(503, body, { 'retry-after': String(RETRY_AFTER_SECONDS) });
}

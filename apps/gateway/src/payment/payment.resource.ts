import { fold } from '@settlement/kernel/decider';
import { formatUnits, type TokenUnits } from '@settlement/kernel/money';
import { secondsToNs, nsToSeconds, toRfc3339 } from '@settlement/kernel/time';
import { unreachable } from '@settlement/kernel/unreachable';
import { typedData } from '@settlement/chain/eip3009';
import { paymentNonce } from '@settlement/chain/payment-nonce';
import type { EvmAddress } from '@settlement/kernel/address';
import { z } from 'zod';
import type { Chains } from './chains';
import { paymentDecider, refundable, refundedTotals, type PaymentState, type PaymentTerms, type RefundState } from './payment.decider';
import type { PaymentEvent } from './payment.events';
import { reasonDetail } from './reason-codes';

/** How long the typed data's authorization is valid by default; the payer may be shown a QR code and take a while. */
export const TYPED_DATA_VALIDITY_SECONDS = 3_600n;

export const PAYMENT_STATUSES = ['awaiting_authorization', 'accepted', 'held', 'refused', 'submitted', 'confirmed', 'collected', 'paid_out'] as const;

const minor = z.string().meta({ description: 'Minor units.', example: '1250000' });
const time = z.string().meta({ format: 'date-time' });

export const paymentSchema = z
  .object({
    id: z.string(),
    object: z.literal('payment'),
    mode: z.enum(['test', 'live']),
    status: z.enum(PAYMENT_STATUSES).meta({
      description: 'confirmed: a block holds it that is not final, and the payment goes back to submitted when the chain takes the block back. collected: final. Further values may be added.',
    }),
    amount: minor,
    token: z.string(),
    chain: z.string(),
    reference: z.string(),
    merchant: z.string(),
    payer: z.string().nullable(),
    refundedAmount: minor,
    refundingAmount: minor,
    refundableAmount: minor,
    refusal: z.object({ stage: z.string(), code: z.string(), detail: z.string() }).nullable(),
    hold: z.object({ reason: z.string() }).nullable(),
    transactionHash: z.string().nullable().meta({ description: 'Of the transaction that collected the payment.' }),
    confirmation: z
      .object({ transactionHash: z.string(), blockNumber: z.int(), at: time, final: z.boolean().meta({ description: 'False: a reorganisation of the chain can take it back.' }) })
      .nullable()
      .meta({ description: 'The block that holds the payment now; null while none does.' }),
    takenBack: z
      .array(z.object({ transactionHash: z.string(), blockNumber: z.int(), blockHash: z.string(), at: time }))
      .meta({ description: 'Confirmations that the chain has taken back, oldest first. The payment went on waiting each time.' }),
    dispute: z
      .object({ code: z.string(), transactionHash: z.string(), at: time })
      .nullable()
      .meta({ description: 'FINALITY_VIOLATED: the chain took back a final block. Payouts and refunds wait for a person.' }),
    payout: z.object({ batch: z.string(), payout: z.string(), transactionHash: z.string() }).nullable(),
    createdAt: time,
    timeline: z.array(z.object({ status: z.string(), at: time, transactionHash: z.string().optional() })),
    typedData: z.record(z.string(), z.unknown()).optional().meta({ description: 'EIP-712 data for the payer to sign; while awaiting authorization.' }),
    preview: z
      .object({
        contract: z.string(),
        function: z.string(),
        token: z.string(),
        amount: z.string(),
        amountMinor: minor,
        payee: z.string(),
        vault: z.string(),
        expiresAt: time,
        text: z.string(),
      })
      .optional()
      .meta({ description: 'What the payer signs, in words; while awaiting authorization.' }),
  })
  .meta({ id: 'Payment' });

export type PaymentResource = z.output<typeof paymentSchema>;

export const refundSchema = z
  .object({
    id: z.string(),
    object: z.literal('refund'),
    payment: z.string(),
    status: z.enum(['pending', 'succeeded', 'failed']),
    amount: minor,
    token: z.string(),
    reason: z.string(),
    failure: z.object({ code: z.string(), detail: z.string() }).nullable(),
    transactionHash: z.string().nullable(),
    createdAt: time,
  })
  .meta({ id: 'Refund' });

export type RefundResource = z.output<typeof refundSchema>;

type Existing = Exclude<PaymentState, { status: 'absent' }>;

/** The payment as the API shows it: a fold of its events and nothing else. */
export function paymentResource(events: readonly PaymentEvent[]): PaymentResource | undefined {
  const state = fold(paymentDecider, events);
  return state.status === 'absent' ? undefined : resourceOf(state, events);
}

function resourceOf(state: Existing, events: readonly PaymentEvent[]): PaymentResource {
  const { terms } = state;
  const taken = state.status === 'collected' || state.status === 'paid_out' ? state : undefined;
  const totals = refundedTotals(taken?.refunds ?? new Map());
  return {
    id: terms.paymentId,
    object: 'payment',
    mode: terms.mode,
    status: state.status,
    amount: terms.amount.amount.toString(),
    token: terms.amount.token,
    chain: terms.chainId,
    reference: terms.reference,
    merchant: terms.merchantId,
    payer: state.status === 'awaiting_authorization' ? null : state.authorization.from,
    refundedAmount: totals.refunded.toString(),
    refundingAmount: totals.refunding.toString(),
    refundableAmount: (taken === undefined ? 0n : refundable(terms.amount.amount, taken.refunds)).toString(),
    refusal: state.status === 'refused' ? { stage: state.stage, code: state.code, detail: reasonDetail(state.code) } : null,
    hold: state.status === 'held' ? { reason: state.reason } : null,
    transactionHash: taken?.collection.transactionHash ?? null,
    confirmation: confirmationOf(state, events),
    takenBack: events.flatMap((event) =>
      event.type === 'PaymentReorged'
        ? [{ transactionHash: event.transactionHash, blockNumber: Number(event.blockNumber), blockHash: event.blockHash, at: toRfc3339(event.reorgedAtNs) }]
        : [],
    ),
    dispute: taken?.dispute === undefined ? null : { code: taken.dispute.code, transactionHash: taken.dispute.transactionHash, at: toRfc3339(taken.dispute.disputedAtNs) },
    payout: state.status === 'paid_out' ? { batch: state.payout.batchId, payout: state.payout.payoutId, transactionHash: state.payout.transactionHash } : null,
    createdAt: toRfc3339(terms.createdAtNs),
    timeline: events.map(timelineEntry),
  };
}

function confirmationOf(state: Existing, events: readonly PaymentEvent[]): PaymentResource['confirmation'] {
  const last = events.findLast((event) => event.type === 'PaymentConfirmed' || event.type === 'PaymentCollected');
  if (last?.type === 'PaymentCollected') return { transactionHash: last.transactionHash, blockNumber: Number(last.blockNumber), at: toRfc3339(last.collectedAtNs), final: true };
  if (last === undefined || state.status !== 'confirmed') return null;
  return { transactionHash: last.transactionHash, blockNumber: Number(last.blockNumber), at: toRfc3339(last.confirmedAtNs), final: false };
}

function timelineEntry(event: PaymentEvent): PaymentResource['timeline'][number] {
  switch (event.type) {
    case 'PaymentCreated': return { status: 'awaiting_authorization', at: toRfc3339(event.createdAtNs) };
    case 'PaymentAccepted': return { status: 'accepted', at: toRfc3339(event.acceptedAtNs) };
    case 'PaymentScreened': return { status: 'screened', at: toRfc3339(event.screenedAtNs) };
    case 'PaymentHeld': return { status: 'held', at: toRfc3339(event.heldAtNs) };
    case 'PaymentRefused': return { status: 'refused', at: toRfc3339(event.refusedAtNs) };
    case 'PaymentSponsored': return { status: 'sponsored', at: toRfc3339(event.sponsoredAtNs) };
    case 'PaymentSubmitted': return { status: 'submitted', at: toRfc3339(event.submittedAtNs) };
    case 'PaymentConfirmed': return { status: 'confirmed', at: toRfc3339(event.confirmedAtNs), transactionHash: event.transactionHash };
    case 'PaymentReorged': return { status: 'reorged', at: toRfc3339(event.reorgedAtNs), transactionHash: event.transactionHash };
    case 'PaymentDisputed': return { status: 'disputed', at: toRfc3339(event.disputedAtNs), transactionHash: event.transactionHash };
    case 'PaymentCollected': return { status: 'collected', at: toRfc3339(event.collectedAtNs), transactionHash: event.transactionHash };
    case 'PaymentPaidOut': return { status: 'paid_out', at: toRfc3339(event.paidOutAtNs), transactionHash: event.transactionHash };
    case 'RefundRequested': return { status: 'refund_requested', at: toRfc3339(event.requestedAtNs) };
    case 'RefundSucceeded': return { status: 'refund_succeeded', at: toRfc3339(event.succeededAtNs), transactionHash: event.transactionHash };
    case 'RefundFailed': return { status: 'refund_failed', at: toRfc3339(event.failedAtNs) };
    default: return unreachable(event);
  }
}

export function refundResource(terms: PaymentTerms, refundId: string, refund: RefundState): RefundResource {
  return {
    id: refundId,
    object: 'refund',
    payment: terms.paymentId,
    status: refund.status,
    amount: refund.amount.toString(),
    token: terms.amount.token,
    reason: refund.reason,
    failure: refund.status === 'failed' ? { code: refund.code, detail: reasonDetail(refund.code) } : null,
    transactionHash: refund.status === 'succeeded' ? refund.transactionHash : null,
    createdAt: toRfc3339(refund.requestedAtNs),
  };
}

/** What the payer signs, and the same in words. Undefined for a chain or token that is not served any more. */
export function signingRequest(
  terms: Pick<PaymentTerms, 'paymentId' | 'merchantKey' | 'chainId' | 'amount' | 'createdAtNs'>,
  payee: string,
  chains: Chains,
  payer?: EvmAddress,
): Required<Pick<PaymentResource, 'typedData' | 'preview'>> | undefined {
  const chain = chains.get(terms.chainId);
  const token = chain?.tokens.get(terms.amount.token);
  if (chain === undefined || token === undefined) return undefined;
  const { amount } = terms.amount;
  const validBefore = nsToSeconds(terms.createdAtNs) + TYPED_DATA_VALIDITY_SECONDS;
  const nonce = paymentNonce({ chainId: chain.eip155, vault: chain.vault, merchantKey: terms.merchantKey, paymentId: terms.paymentId });
  const data = typedData('ReceiveWithAuthorization', token.domain, {
    from: payer ?? chain.vault,
    to: chain.vault,
    value: amount,
    validAfter: 0n,
    validBefore,
    nonce,
  });
  const { from: _from, ...rest } = data.message;
  const human = humanAmount(amount, token.decimals);
  const expiresAt = toRfc3339(secondsToNs(validBefore));
  return {
    // The wallet that signs fills in `from` where the merchant did not name the payer.
    typedData: { ...data, message: payer === undefined ? rest : data.message },
    preview: {
      contract: token.address,
      function: 'receiveWithAuthorization',
      token: token.symbol,
      amount: human,
      amountMinor: amount.toString(),
      payee,
      vault: chain.vault,
      expiresAt,
      text: `Pay ${human} ${token.symbol} to ${payee} on ${chain.chainId}. The payment vault ${chain.vault} receives it for them, once, before ${expiresAt}.`,
    },
  };
}

/** `1.25`: exact, without trailing zeros. */
function humanAmount(amount: TokenUnits, decimals: number): string {
  const text = formatUnits(amount, decimals);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

import fc from 'fast-check';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { MerchantId, SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol, TokenUnits, Wei } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import type { RecordedEvent } from '@settlement/event-store/event';
import { describe, expect, it } from 'vitest';
import type { ScreeningAnswer } from '../ports/screener';
import { paymentIdOf } from './payment-id';
import { decideMany, type OpenPayment } from './submission.reaction';

const address = `0x${'ab'.repeat(20)}` as EvmAddress;

function open(n: number): OpenPayment {
  const merchantId = 'mer_1' as MerchantId;
  const paymentId = paymentIdOf(merchantId, `order-${n}`);
  const amount = { token: 'USDC' as TokenSymbol, amount: 1n as TokenUnits };
  return {
    version: 2n,
    cause: { eventId: `0-${n}`, traceparent: '' } as RecordedEvent,
    state: {
      status: 'accepted',
      terms: {
        paymentId, merchantId, merchantKey: `0x${'11'.repeat(32)}` as Bytes32, mode: 'test', chainId: 'eip155:31337' as ChainId, amount, reference: `order-${n}`,
        sponsorId: 'spo_default' as SponsorId, payoutAddress: address, createdAtNs: 1n as UnixNs,
      },
      authorization: {
        from: address, to: address, value: amount.amount, validAfter: 0n as UnixSeconds, validBefore: 9n as UnixSeconds, nonce: `0x${'22'.repeat(32)}` as Bytes32, signature: '0x01' as HexBytes,
      },
    },
  };
}

const origin = { signal: new AbortController().signal, traceparent: '' };
const verdicts = fc.constantFrom<ScreeningAnswer>({ verdict: 'allow', listVersions: ['l@1'] }, { verdict: 'hold', reason: 'NAME_MATCH' }, { verdict: 'reject', code: 'SANCTIONED_ADDRESS' });
const answers = fc.array(fc.record({ screening: verdicts, reserved: fc.boolean(), relayed: fc.boolean() }), { minLength: 1, maxLength: 40 });

describe('the submission of a batch', () => {
  it('asks the paymaster only for what screening allowed, the relayer only for what is sponsored, and gives back what it will not use', async () => {
    await fc.assert(
      fc.asyncProperty(answers, async (plan) => {
        const payments = plan.map((_, n) => open(n));
        const index = new Map(payments.map(({ state }, n) => [state.terms.paymentId, n]));
        const planOf = (paymentId: string) => {
          const answer = plan[index.get(paymentId as never) ?? -1];
          if (answer === undefined) throw new Error('a payment that nobody asked for');
          return answer;
        };
        const asked = { reserved: [] as string[], submitted: [] as string[], released: [] as string[] };
        const decided = await decideMany(payments, origin, {
          screener: { screenMany: (questions) => Promise.resolve(questions.map(({ paymentId }) => planOf(paymentId).screening)) },
          sponsor: {
            reserveMany: (requests) => {
              asked.reserved.push(...requests.map(({ paymentId }) => paymentId));
              return Promise.resolve(requests.map(({ paymentId, amountMax }) => (planOf(paymentId).reserved ? { reserved: true, amount: amountMax } : { reserved: false, code: 'SPONSOR_BUDGET_EXCEEDED' })));
            },
            releaseMany: (reservations) => {
              asked.released.push(...reservations.map(({ reservationId }) => reservationId.replace('rsv_', 'pay_')));
              return Promise.resolve();
            },
          },
          relayer: {
            collectCostMax: () => Promise.resolve(7n as Wei),
            submitMany: (requests) => {
              asked.submitted.push(...requests.map(({ paymentId }) => paymentId));
              return Promise.resolve(requests.map(({ paymentId }) => (planOf(paymentId).relayed ? { accepted: true } : { accepted: false, code: 'MALFORMED' })));
            },
          },
        });
        const expected = plan.map(({ screening, reserved, relayed }) => {
          if (screening.verdict === 'hold') return 'held';
          if (screening.verdict === 'reject') return 'rejected';
          if (!reserved) return 'not-sponsored';
          return relayed ? 'submitted' : 'not-relayed';
        });
        const result = new Map(decided.map(({ payment, outcome }) => [payment.state.terms.paymentId, outcome.result]));
        expect(payments.map(({ state }) => result.get(state.terms.paymentId))).toEqual(expected);
        const withResult = (...wanted: string[]): string[] => payments.filter((_, n) => wanted.includes(expected[n] ?? '')).map(({ state }) => state.terms.paymentId);
        expect(asked.reserved).toEqual(withResult('not-sponsored', 'not-relayed', 'submitted'));
        expect(asked.submitted).toEqual(withResult('not-relayed', 'submitted'));
        expect(asked.released).toEqual(withResult('not-relayed'));
      }),
    );
  });

  it('decides nothing when a peer leaves an answer out', async () => {
    const nobody = { screener: { screenMany: () => Promise.resolve([]) } };
    const unused = { sponsor: { reserveMany: () => Promise.reject(new Error('asked')), releaseMany: () => Promise.reject(new Error('asked')) }, relayer: { collectCostMax: () => Promise.reject(new Error('asked')), submitMany: () => Promise.reject(new Error('asked')) } };
    await expect(decideMany([open(1)], origin, { ...nobody, ...unused })).rejects.toMatchObject({ code: 'PEER_ANSWER_MISSING' });
  });
});

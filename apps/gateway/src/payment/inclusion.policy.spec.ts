import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import type { IntentId, MerchantId, PaymentId, RefundId, SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol, TokenUnits } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import { given } from '@settlement/testing/given';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Inclusion } from './inclusion.policy';
import { paymentDecider, type PaymentCommand } from './payment.decider';
import type { Authorization, PaymentEvent } from './payment.events';

const now = 1_000n as UnixNs;
const paymentId = 'pay_1' as PaymentId;
const intentId = 'int_1' as IntentId;
const payer = `0x${'bb'.repeat(20)}` as EvmAddress;
const about = {
  paymentId,
  merchantId: 'mer_1' as MerchantId,
  merchantKey: `0x${'11'.repeat(32)}` as Bytes32,
  chainId: 'eip155:31337' as ChainId,
  amount: { token: 'USDC' as TokenSymbol, amount: 100n as TokenUnits },
};
const authorization: Authorization = {
  from: payer, to: payer, value: 100n as TokenUnits, validAfter: 0n as UnixSeconds, validBefore: 9n as UnixSeconds,
  nonce: `0x${'22'.repeat(32)}` as Bytes32, signature: '0x01' as HexBytes,
};
const created: PaymentEvent = { type: 'PaymentCreated', ...about, mode: 'test', reference: 'order-1', sponsorId: 'spo_1' as SponsorId, payoutAddress: payer, createdAtNs: now };
const accepted: PaymentEvent = { type: 'PaymentAccepted', paymentId, authorization, acceptedAtNs: now };
const submitted: PaymentEvent = { type: 'PaymentSubmitted', paymentId, intentId, submittedAtNs: now };
const toSubmitted = [created, accepted, submitted];

const inclusion = (transactionId: string, version: bigint, block = 7n): Inclusion => ({
  transactionId, version, transactionHash: `0xhash-${transactionId}`, blockNumber: block, blockHash: `0xblock-${block}-${version}`, intentId,
});
const include = (it: Inclusion): PaymentCommand => ({ type: 'RecordInclusion', inclusion: it, nowNs: now });
const reorg = (transactionId: string, version: bigint): PaymentCommand => ({
  type: 'RecordReorg', word: { transactionId, version }, transactionHash: `0xhash-${transactionId}`, blockHash: '0xgone', nowNs: now,
});
const collect = (transactionId: string, version: bigint): PaymentCommand => ({
  type: 'RecordCollection', collection: { transactionHash: `0xhash-${transactionId}`, blockNumber: 9n, word: { transactionId, version } }, nowNs: now,
});
const confirmed = (it: Inclusion): PaymentEvent => ({ type: 'PaymentConfirmed', ...about, payerAddress: payer, ...it, confirmedAtNs: now });
const takenBack = ({ transactionHash, blockNumber, blockHash }: Inclusion, word: { readonly transactionId: string; readonly version: bigint }): PaymentEvent => ({
  type: 'PaymentReorged', ...about, transactionHash, blockNumber, blockHash, transactionId: word.transactionId, version: word.version, reorgedAtNs: now,
});
const collected = (transactionId: string, version: bigint): PaymentEvent => ({
  type: 'PaymentCollected', ...about, payerAddress: payer, transactionHash: `0xhash-${transactionId}`, blockNumber: 9n, transactionId, version, collectedAtNs: now,
});
const a = inclusion('a', 4n);

describe('a payment in a block that is not final', () => {
  it('is confirmed once, also when the block overtakes the own record of the submission', () => {
    given(paymentDecider, ...toSubmitted).when(include(a)).then(confirmed(a));
    given(paymentDecider, created, accepted).when(include(a)).then(confirmed(a));
    given(paymentDecider, ...toSubmitted, confirmed(a)).when(include(a)).thenNothing();
  });

  it('waits again when its block is taken back, once, and is confirmed by the next block', () => {
    const back = takenBack(a, { transactionId: 'a', version: 5n });
    given(paymentDecider, ...toSubmitted, confirmed(a)).when(reorg('a', 5n)).then(back);
    given(paymentDecider, ...toSubmitted, confirmed(a), back).when(reorg('a', 5n)).thenNothing();
    given(paymentDecider, ...toSubmitted, confirmed(a), back).when(include(a)).thenNothing();
    given(paymentDecider, ...toSubmitted, confirmed(a), back).when(include(inclusion('a', 6n, 8n))).then(confirmed(inclusion('a', 6n, 8n)));
    given(paymentDecider, ...toSubmitted, confirmed(a)).when(reorg('a', 5n)).thenState((state) => {
      expect(state).toMatchObject({ status: 'submitted', intentId });
    });
  });

  it('follows the later word where two transactions claim it, and takes the earlier one back first', () => {
    const b = inclusion('b', 3n, 8n);
    given(paymentDecider, ...toSubmitted, confirmed(a)).when(include(b)).then(takenBack(a, a), confirmed(b));
    // The other partition catches up: what it says of the earlier transaction is history.
    given(paymentDecider, ...toSubmitted, confirmed(a), takenBack(a, a), confirmed(b)).when(reorg('a', 5n)).thenNothing();
  });

  it('waits again when its transaction is over without it', () => {
    given(paymentDecider, ...toSubmitted, confirmed(a))
      .when({ type: 'RecordReturn', word: { transactionId: 'a', version: 5n }, nowNs: now })
      .then(takenBack(a, { transactionId: 'a', version: 5n }));
    given(paymentDecider, ...toSubmitted).when({ type: 'RecordReturn', word: { transactionId: 'a', version: 5n }, nowNs: now }).thenNothing();
    given(paymentDecider).when({ type: 'RecordReturn', word: { transactionId: 'a', version: 5n }, nowNs: now }).thenNothing();
  });

  it('is collected at finality, from whatever stood before, and late blocks change nothing', () => {
    given(paymentDecider, ...toSubmitted, confirmed(a)).when(collect('a', 5n)).then(collected('a', 5n));
    given(paymentDecider, ...toSubmitted).when(collect('a', 5n)).then(collected('a', 5n));
    given(paymentDecider, ...toSubmitted, collected('a', 5n)).when(include(a)).thenNothing();
    given(paymentDecider, ...toSubmitted, collected('b', 5n)).when(reorg('a', 9n)).thenNothing();
    given(paymentDecider, ...toSubmitted, confirmed(a), takenBack(a, { transactionId: 'a', version: 5n }), collected('a', 7n)).when(reorg('a', 5n)).thenNothing();
  });

  it('that fails in the end is taken back before it is refused', () => {
    given(paymentDecider, ...toSubmitted, confirmed(a))
      .when({ type: 'RecordCollectionFailure', code: 'INSUFFICIENT_FUNDS', nowNs: now })
      .then(takenBack(a, a), { type: 'PaymentRefused', paymentId, stage: 'collection', code: 'INSUFFICIENT_FUNDS', refusedAtNs: now });
    given(paymentDecider, ...toSubmitted, { type: 'PaymentRefused', paymentId, stage: 'collection', code: 'INSUFFICIENT_FUNDS', refusedAtNs: now }).when(include(a)).thenNothing();
  });

  it('cannot be refunded yet', () => {
    given(paymentDecider, ...toSubmitted, confirmed(a))
      .when({ type: 'RequestRefund', refundId: 'ref_1' as RefundId, reason: '', nowNs: now })
      .thenRejected({ code: 'PAYMENT_NOT_COLLECTED', status: 'confirmed' });
  });

  it.each([['awaiting_authorization', [created]], ['refused', [created, accepted, { type: 'PaymentRefused', paymentId, stage: 'screening', code: 'X', refusedAtNs: now } as PaymentEvent]]] as const)(
    'and yet %s contradicts its record',
    (status, history) => {
      given(paymentDecider, ...history).when(include(a)).thenRejected({ code: 'CONTRADICTS_RECORD', status, fact: 'INCLUSION' });
    },
  );
});

describe('a final block that the chain takes back', () => {
  const disputed: PaymentEvent = {
    type: 'PaymentDisputed', paymentId, merchantId: about.merchantId, chainId: about.chainId, amount: about.amount, code: 'FINALITY_VIOLATED',
    transactionHash: '0xhash-a', blockHash: '0xgone', disputedAtNs: now,
  };

  it('is recorded as a dispute, once, whatever the payment has become', () => {
    given(paymentDecider, ...toSubmitted, collected('a', 5n)).when(reorg('a', 6n)).then(disputed);
    given(paymentDecider, ...toSubmitted, collected('a', 5n), disputed).when(reorg('a', 6n)).thenNothing();
    given(paymentDecider, ...toSubmitted, collected('a', 5n), disputed).when(reorg('a', 8n)).thenNothing();
  });

  it('is recorded for a payment of before the transaction was kept, by its hash', () => {
    const { transactionId: _id, version: _version, ...older } = collected('a', 5n) as Extract<PaymentEvent, { type: 'PaymentCollected' }>;
    given(paymentDecider, ...toSubmitted, older).when(reorg('a', 6n)).then(disputed);
    given(paymentDecider, ...toSubmitted, older).when(reorg('b', 6n)).thenNothing();
  });

  it('stops refunds with a reason of its own', () => {
    given(paymentDecider, ...toSubmitted, collected('a', 5n), disputed)
      .when({ type: 'RequestRefund', refundId: 'ref_1' as RefundId, reason: '', nowNs: now })
      .thenRejected({ code: 'PAYMENT_DISPUTED', dispute: { code: 'FINALITY_VIOLATED', transactionHash: '0xhash-a', disputedAtNs: now } });
  });
});

/** Streams of transactions that claimed one payment in turn; the last one is final. Each in its partition, so each in its order. */
const history = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 4 }).map((reorgsOf) =>
  reorgsOf.map((reorgs, t) => {
    const id = `t${t}`;
    const words: PaymentCommand[] = [];
    let version = 3n;
    for (let i = 0; i < reorgs; i += 1) words.push(include(inclusion(id, (version += 1n), 10n + BigInt(i))), reorg(id, (version += 1n)));
    if (t === reorgsOf.length - 1) words.push(include(inclusion(id, (version += 1n), 20n)), collect(id, (version += 1n)));
    else words.push({ type: 'RecordReturn', word: { transactionId: id, version: version + 1n }, nowNs: now });
    return words;
  }),
);

describe('whatever order the partitions are read in, and however often', () => {
  it('confirmations alternate with what takes them back, and the end is the same', () => {
    fc.assert(
      fc.property(history, fc.array(fc.record({ partition: fc.nat({ max: 3 }), back: fc.nat({ max: 4 }) }), { maxLength: 60 }), (streams, schedule) => {
        const cursors = streams.map(() => 0);
        let events: PaymentEvent[] = [...toSubmitted];
        const deliver = (partition: number): void => {
          const command = streams[partition]?.[cursors[partition] ?? 0];
          if (command === undefined) return;
          cursors[partition] = (cursors[partition] ?? 0) + 1;
          const decision = paymentDecider.decide(command, fold(paymentDecider, events));
          if (decision.kind === 'rejected') throw new Error(decision.rejection.code);
          events = [...events, ...decision.events];
        };
        for (const { partition, back } of schedule) {
          const p = partition % streams.length;
          // A watermark that was not committed: some facts come again, in their order.
          if (back > 2) cursors[p] = Math.max(0, (cursors[p] ?? 0) - back);
          deliver(p);
        }
        streams.forEach((words, p) => {
          while ((cursors[p] ?? 0) < words.length) deliver(p);
        });
        const story = events.slice(toSubmitted.length).map(({ type }) => type);
        const open = story.slice(0, story.indexOf('PaymentCollected'));
        open.forEach((type, i) => {
          expect(type).toBe(i % 2 === 0 ? 'PaymentConfirmed' : 'PaymentReorged');
        });
        expect(story.filter((type) => type === 'PaymentCollected')).toHaveLength(1);
        expect(story.at(-1)).toBe('PaymentCollected');
        expect(fold(paymentDecider, events)).toMatchObject({ status: 'collected', collection: { transactionHash: `0xhash-t${streams.length - 1}` } });
      }),
      { numRuns: 500 },
    );
  });
});

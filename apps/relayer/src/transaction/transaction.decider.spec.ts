import { given } from '@settlement/testing/given';
import { fold } from '@settlement/kernel/decider';
import { IntentKind } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TransactionEvent } from '../relayer.events';
import { transactionDecider, transactionStreamOf, type TransactionCommand } from './transaction.decider';

type Of<T extends TransactionEvent['type']> = Extract<TransactionEvent, { type: T }>;

const TX = 'eip155:1-0xkey-5';
const plan: Of<'TransactionPlanned'> = { type: 'TransactionPlanned', transactionId: TX, chainId: 'eip155:1', keyAddress: '0xkey', nonce: 5n, to: '0xvault', data: '0x01', gasLimit: 100n, intentIds: ['a', 'b'], plannedAtNs: 1n, fencingToken: 1n, purpose: 1, valueWei: '' };
const signature = (raw: string): Of<'TransactionSigned'> => ({ type: 'TransactionSigned', transactionId: TX, transactionHash: `0xhash${raw}`, raw, feePerGasWeiMax: '2', priorityFeePerGasWeiMax: '1', signedAtNs: 2n, attempt: 0 });
const inclusion = (blockHash: string): Of<'TransactionIncluded'> => ({ type: 'TransactionIncluded', transactionId: TX, chainId: 'eip155:1', transactionHash: '0xhash0x02', blockNumber: 9n, blockHash, status: 1, includedAtNs: 3n, outcomes: [] });
const reorg = (blockHash: string): Of<'TransactionReorged'> => ({ type: 'TransactionReorged', transactionId: TX, chainId: 'eip155:1', transactionHash: '0xhash0x02', blockHash, reorgedAtNs: 4n, outcomes: [] });
const finality = (blockHash: string, intentIds = ['a', 'b']): Of<'TransactionFinalized'> => ({
  type: 'TransactionFinalized',
  transactionId: TX,
  chainId: 'eip155:1',
  transactionHash: '0xhash0x02',
  blockNumber: 9n,
  blockHash,
  gasUsed: 10n,
  gasPriceWei: '1',
  outcomes: intentIds.map((intentId) => ({ intentId, subjectId: 's', kind: IntentKind.INTENT_KIND_COLLECT, executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED, sponsorId: 'p', reservationId: 'r', costWei: '5', payouts: [], executedByTransactionHash: '' })),
  finalizedAtNs: 5n,
  attempt: 0,
  returnedIntentIds: [],
});
const signed = signature('0x02');

describe('a nonce of a lane', () => {
  it('is planned once', () => {
    given(transactionDecider).when({ type: 'Plan', plan }).then(plan);
    given(transactionDecider, plan).when({ type: 'Plan', plan: { ...plan, intentIds: ['c'] } }).thenRejected({ code: 'NONCE_TAKEN', transactionId: TX });
  });

  it('is signed once: the same bytes again are no news, other bytes are refused (I5)', () => {
    given(transactionDecider, plan).when({ type: 'Sign', signature: signed }).then(signed);
    given(transactionDecider, plan, signed).when({ type: 'Sign', signature: signed }).thenNothing();
    given(transactionDecider, plan, signed).when({ type: 'Sign', signature: signature('0x03') }).thenRejected({ code: 'SIGNED_ALREADY', transactionHash: '0xhash0x02' });
  });

  it('is not signed before it is planned, nor included before it is signed', () => {
    given(transactionDecider).when({ type: 'Sign', signature: signed }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'absent' });
    given(transactionDecider, plan).when({ type: 'Include', inclusion: inclusion('0xb1') }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'planned' });
  });

  it('goes back to signed when its block is reorged, and may be included in another', () => {
    given(transactionDecider, plan, signed, inclusion('0xb1')).when({ type: 'Reorg', reorg: reorg('0xb1') }).then(reorg('0xb1'));
    given(transactionDecider, plan, signed, inclusion('0xb1'), reorg('0xb1')).when({ type: 'Include', inclusion: inclusion('0xb2') }).then(inclusion('0xb2'));
  });

  it('becomes final only in the block that it is recorded in', () => {
    given(transactionDecider, plan, signed, inclusion('0xb1')).when({ type: 'Finalize', finality: finality('0xb2') }).thenRejected({ code: 'OTHER_BLOCK', blockHash: '0xb1' });
    given(transactionDecider, plan, signed, inclusion('0xb1')).when({ type: 'Finalize', finality: finality('0xb1') }).then(finality('0xb1'));
    given(transactionDecider, plan, signed, inclusion('0xb1'), finality('0xb1')).when({ type: 'Finalize', finality: finality('0xb1') }).thenNothing();
  });

  it('answers for its own intents only', () => {
    given(transactionDecider, plan, signed, inclusion('0xb1')).when({ type: 'Finalize', finality: finality('0xb1', ['a', 'z']) }).thenRejected({ code: 'FOREIGN_OUTCOME', intentId: 'z' });
  });

  it('has one plan, at most one signature and at most one fact, whatever is asked of it in whatever order', () => {
    const command = fc.oneof(
      fc.constant<TransactionCommand>({ type: 'Plan', plan }),
      fc.constantFrom('0x02', '0x03').map((raw): TransactionCommand => ({ type: 'Sign', signature: signature(raw) })),
      fc.constantFrom('0xb1', '0xb2').map((hash): TransactionCommand => ({ type: 'Include', inclusion: inclusion(hash) })),
      fc.constantFrom('0xb1', '0xb2').map((hash): TransactionCommand => ({ type: 'Reorg', reorg: reorg(hash) })),
      fc.constantFrom('0xb1', '0xb2').map((hash): TransactionCommand => ({ type: 'Finalize', finality: finality(hash) })),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 30 }), (commands) => {
        const log: TransactionEvent[] = [];
        for (const it of commands) {
          const decision = transactionDecider.decide(it, fold(transactionDecider, log));
          if (decision.kind === 'accepted') log.push(...decision.events);
        }
        const count = (type: TransactionEvent['type']): number => log.filter((event) => event.type === type).length;
        expect(count('TransactionPlanned')).toBeLessThanOrEqual(1);
        expect(count('TransactionSigned')).toBeLessThanOrEqual(1);
        expect(count('TransactionFinalized')).toBeLessThanOrEqual(1);
        // Between two inclusions there is a reorg.
        expect(count('TransactionIncluded') - count('TransactionReorged')).toBeLessThanOrEqual(1);
      }),
    );
  });
});

it('names a stream that no other nonce, key or chain shares', () => {
  expect(transactionStreamOf('eip155:1', '0xkey', 5n)).toBe('transaction-eip155:1-0xkey-5');
});

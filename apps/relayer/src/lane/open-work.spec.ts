import type { RecordedEvent } from '@settlement/event-store/event';
import { IntentState, QuarantineReason, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AcceptedIntent } from '../intent/intent';
import { relayerCodec } from '../relayer.codec';
import type { RelayerEvent } from '../relayer.events';
import { IntentQueue } from './intent-queue';
import { OpenWork } from './open-work';

const CHAIN = 'eip155:1';
const KEY = '0x00000000000000000000000000000000000000aa';
const request = (intentId: string): SubmitRequest => ({ intentId, chainId: CHAIN, subjectId: 's', screeningId: 'c', sponsorId: 'p', reservationId: 'r', kind: undefined });
const accepted = (intentId: string): RelayerEvent => ({ type: 'IntentAccepted', intent: request(intentId), acceptedAtNs: 1n });
const planned = (nonce: bigint, intentIds: string[]): RelayerEvent => ({ type: 'TransactionPlanned', transactionId: `t${nonce}`, chainId: CHAIN, keyAddress: KEY, nonce, to: '', data: '', gasLimit: 1n, intentIds, plannedAtNs: 1n, fencingToken: 1n, purpose: 1, valueWei: '' });
const finalized = (nonce: bigint, done: string[], returned: string[]): RelayerEvent => ({
  type: 'TransactionFinalized', transactionId: `t${nonce}`, chainId: CHAIN, transactionHash: `0x${nonce}`, blockNumber: 9n, blockHash: '0xb', gasUsed: 1n, gasPriceWei: '1', finalizedAtNs: 1n, attempt: 0, returnedIntentIds: returned,
  outcomes: done.map((intentId) => ({ intentId, subjectId: 's', kind: 1, executed: true, reason: 0, sponsorId: 'p', reservationId: 'r', costWei: '1', payouts: [], executedByTransactionHash: '' })),
});

function follow(): { readonly work: OpenWork; readonly queue: IntentQueue; read(...events: readonly RelayerEvent[]): void } {
  const queue = new IntentQueue();
  const work = new OpenWork({
    typed: (recorded) => ({ intent: { intentId: recorded.request.intentId, chainId: CHAIN }, acceptedAtNs: recorded.acceptedAtNs, traceparent: '' }) as unknown as AcceptedIntent,
    queueOf: () => queue,
    unreadable: () => undefined,
  });
  return { work, queue, read: (...events) => work.apply(events.map((event): RecordedEvent => ({ ...relayerCodec.encode(event), traceparent: '' }) as unknown as RecordedEvent)) };
}

describe('open work, read from the whole log', () => {
  it('lets an intent wait until any lane plans it, and again when it is given back', () => {
    const { work, queue, read } = follow();
    read(accepted('a'), accepted('b'));
    expect(queue.size).toBe(2);
    read(planned(0n, ['a', 'b']));
    expect(queue.size).toBe(0);
    expect(work.status('a')).toMatchObject({ state: IntentState.INTENT_STATE_IN_FLIGHT });
    expect(work.nextNonce(CHAIN, KEY)).toBe(1n);
    read(finalized(0n, ['a'], ['b']));
    expect(queue.waiting().map(({ intent }) => intent.intentId)).toEqual(['b']);
    expect(work.status('a')).toMatchObject({ state: IntentState.INTENT_STATE_FINAL, transactionHash: '0x0' });
    expect(work.transactionsOf(CHAIN, KEY)).toEqual([]);
  });

  it('knows who is quarantined, and tells when a person ends it and not when the relayer does', () => {
    const told: string[] = [];
    const work = new OpenWork({ typed: () => { throw new Error('none'); }, queueOf: () => undefined, unreadable: () => undefined, reinstated: (lane, by) => told.push(`${lane} ${by}`) });
    const read = (event: RelayerEvent): void => work.apply([{ ...relayerCodec.encode(event), traceparent: '' } as unknown as RecordedEvent]);
    read({ type: 'LaneQuarantined', chainId: CHAIN, keyAddress: KEY, reason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, detail: 'd', fencingToken: 1n, quarantinedAtNs: 1n });
    expect(work.standing(`${CHAIN}-${KEY}`)).toEqual({ reason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, detail: 'd' });
    read({ type: 'LaneReinstated', chainId: CHAIN, keyAddress: KEY, by: 'relayer', reinstatedAtNs: 1n });
    expect(work.standing(`${CHAIN}-${KEY}`)).toBeUndefined();
    read({ type: 'LaneReinstated', chainId: CHAIN, keyAddress: KEY, by: 'kim', reinstatedAtNs: 1n });
    expect(told).toEqual([`${CHAIN}-${KEY} kim`]);
  });

  it('ends with the same work in whatever order the streams are read', () => {
    // Streams are read in their own order each, and in any order among each other.
    const streams: readonly (readonly RelayerEvent[])[] = [
      [accepted('a')],
      [accepted('b')],
      [accepted('c')],
      [planned(0n, ['a', 'b']), finalized(0n, ['a'], ['b'])],
      [planned(1n, ['b', 'c']), finalized(1n, [], ['b', 'c'])],
      [planned(2n, ['b'])],
    ];
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(1_000)), (picks) => {
        const left = streams.map((events) => [...events]);
        const { work, queue, read } = follow();
        while (left.some((events) => events.length > 0)) {
          const open = left.filter((events) => events.length > 0);
          const event = open[(picks.next().value as number) % open.length]?.shift();
          if (event !== undefined) read(event);
        }
        expect(queue.waiting().map(({ intent }) => intent.intentId)).toEqual(['c']);
        expect(work.status('a')?.state).toBe(IntentState.INTENT_STATE_FINAL);
        expect(work.status('b')?.state).toBe(IntentState.INTENT_STATE_IN_FLIGHT);
        expect(work.transactionsOf(CHAIN, KEY).map((it) => it.transactionId)).toEqual(['t2']);
        expect(work.nextNonce(CHAIN, KEY)).toBe(3n);
      }),
    );
  });
});

import { given } from '@settlement/testing/given';
import { fold } from '@settlement/kernel/decider';
import { IntentKind, ReplacementKind, TransactionFinalized, TransactionPlanned, TransactionPurpose, TransactionSigned, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TransactionEvent } from '../relayer.events';
import { outbidding } from './price-bump.policy';
import {
  cancelledBy,
  transactionDecider,
  transactionStreamOf,
  type Displacement,
  type Finality,
  type Inclusion,
  type Plan,
  type Reorg,
  type Replacement,
  type Signature,
  type TransactionCommand,
} from './transaction.decider';

const TX = 'eip155:1-0xkey-5';
const CHAIN = { transactionId: TX, chainId: 'eip155:1' };
const FEES = ReplacementKind.REPLACEMENT_KIND_FEES;
const NO_OP = ReplacementKind.REPLACEMENT_KIND_NO_OP;
/** Fees of attempt n: each outbids the one before. */
const feesOf = (attempt: number): { feePerGasWeiMax: string; priorityFeePerGasWeiMax: string } => {
  let fees = { feePerGasWeiMax: 80n, priorityFeePerGasWeiMax: 8n };
  for (let i = 0; i < attempt; i += 1) fees = outbidding(fees);
  return { feePerGasWeiMax: fees.feePerGasWeiMax.toString(), priorityFeePerGasWeiMax: fees.priorityFeePerGasWeiMax.toString() };
};
const hashOf = (raw: string): string => `0xhash${raw}`;

const plan: Plan = { type: 'TransactionPlanned', ...CHAIN, keyAddress: '0xkey', nonce: 5n, to: '0xvault', data: '0x01', gasLimit: 100n, intentIds: ['a', 'b'], plannedAtNs: 1n, fencingToken: 1n, purpose: TransactionPurpose.TRANSACTION_PURPOSE_EXECUTE, valueWei: '' };
const gap: Plan = { ...plan, to: '0xkey', data: '0x', gasLimit: 21_000n, intentIds: [], purpose: TransactionPurpose.TRANSACTION_PURPOSE_FILL_GAP };
const signature = (attempt: number, raw = `0x0${attempt}`): Signature => ({ type: 'TransactionSigned', transactionId: TX, transactionHash: hashOf(raw), raw, ...feesOf(attempt), signedAtNs: 2n, attempt });
const replacement = (attempt: number, kind: ReplacementKind, cancelledIntentIds: string[] = []): Replacement => ({ type: 'ReplacementPlanned', transactionId: TX, attempt, kind, ...feesOf(attempt), why: 'unmined for 3 blocks', plannedAtNs: 2n, cancelledIntentIds });
const outcome = (intentId: string, executed: boolean, reason = IntentReason.INTENT_REASON_UNSPECIFIED): IntentOutcome => ({
  intentId, subjectId: 's', kind: IntentKind.INTENT_KIND_COLLECT, executed, reason, sponsorId: 'p', reservationId: 'r', costWei: '5', payouts: [], executedByTransactionHash: '',
});
const executed = ['a', 'b'].map((intentId) => outcome(intentId, true));
const inclusion = (attempt: number, blockHash = '0xb1', outcomes = executed): Inclusion => ({ type: 'TransactionIncluded', ...CHAIN, transactionHash: hashOf(`0x0${attempt}`), blockNumber: 9n, blockHash, status: 1, includedAtNs: 3n, outcomes });
const reorg = (attempt: number, blockHash = '0xb1'): Omit<Reorg, 'outcomes'> => ({ type: 'TransactionReorged', ...CHAIN, transactionHash: hashOf(`0x0${attempt}`), blockHash, reorgedAtNs: 4n });
const finality = (attempt: number, outcomes = executed, returnedIntentIds: string[] = [], blockHash = '0xb1'): Finality => ({
  type: 'TransactionFinalized', ...CHAIN, transactionHash: hashOf(`0x0${attempt}`), blockNumber: 9n, blockHash, gasUsed: 10n, gasPriceWei: '1', outcomes, finalizedAtNs: 5n, attempt, returnedIntentIds,
});
const displacement = (returnedIntentIds = ['a', 'b']): Displacement => ({ type: 'TransactionDisplaced', ...CHAIN, foreignTransactionHash: '', blockNumber: 12n, blockHash: '0xb12', returnedIntentIds, displacedAtNs: 6n });

const sent = given(transactionDecider, plan, signature(0));
const replaced = sent.and(replacement(1, FEES), signature(1));

describe('the plan of a nonce', () => {
  it('is made once', () => {
    given(transactionDecider).when({ type: 'Plan', plan }).then(plan);
    given(transactionDecider, plan).when({ type: 'Plan', plan: { ...plan, intentIds: ['c'] } }).thenRejected({ code: 'NONCE_TAKEN', transactionId: TX });
  });

  it('holds intents, each once', () => {
    given(transactionDecider).when({ type: 'Plan', plan: { ...plan, intentIds: [] } }).thenRejected({ code: 'MALFORMED_PLAN', why: 'a transaction holds at least one intent' });
    given(transactionDecider).when({ type: 'Plan', plan: { ...plan, intentIds: ['a', 'a'] } }).thenRejected({ code: 'MALFORMED_PLAN', why: 'an intent stands in a transaction once' });
  });

  it('may fill a gap: empty, to the key itself, without intents', () => {
    const why = 'what fills a gap is an empty transfer to the key itself and holds no intents';
    given(transactionDecider).when({ type: 'Plan', plan: gap }).then(gap);
    given(transactionDecider).when({ type: 'Plan', plan: { ...gap, intentIds: ['a'] } }).thenRejected({ code: 'MALFORMED_PLAN', why });
    given(transactionDecider).when({ type: 'Plan', plan: { ...gap, to: '0xvault' } }).thenRejected({ code: 'MALFORMED_PLAN', why });
    given(transactionDecider, gap, signature(0), inclusion(0, '0xb1', [])).when({ type: 'Finalize', finality: finality(0, []) }).then(finality(0, []));
  });
});

describe('an attempt', () => {
  it('is signed once: the same bytes again are no news, other bytes are refused (I5)', () => {
    given(transactionDecider, plan).when({ type: 'Sign', signature: signature(0) }).then(signature(0));
    sent.when({ type: 'Sign', signature: signature(0) }).thenNothing();
    sent.when({ type: 'Sign', signature: signature(0, '0x0f') }).thenRejected({ code: 'SIGNED_ALREADY', transactionHash: hashOf('0x00') });
    replaced.when({ type: 'Sign', signature: signature(1, '0x0f') }).thenRejected({ code: 'SIGNED_ALREADY', transactionHash: hashOf('0x01') });
  });

  it('is planned before it is signed', () => {
    given(transactionDecider).when({ type: 'Sign', signature: signature(0) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'absent' });
    sent.when({ type: 'Sign', signature: signature(1) }).thenRejected({ code: 'ATTEMPT_NOT_PLANNED', attempt: 1 });
    sent.and(replacement(1, FEES)).when({ type: 'Sign', signature: signature(1) }).then(signature(1));
  });

  it('is signed for the fees that were planned', () => {
    sent.and(replacement(1, FEES)).when({ type: 'Sign', signature: { ...signature(1), feePerGasWeiMax: '1000000' } }).thenRejected({ code: 'OTHER_FEES', attempt: 1 });
  });

  it('is not signed any more once another is mined, final or displaced', () => {
    const open = sent.and(replacement(1, FEES));
    open.and(inclusion(0)).when({ type: 'Sign', signature: signature(1) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'included' });
    open.and(inclusion(0), finality(0)).when({ type: 'Sign', signature: signature(1) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'final' });
    open.and(displacement()).when({ type: 'Sign', signature: signature(1) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'displaced' });
  });

  it('that was planned before the original was mined is signed after all when a reorg takes the block away', () => {
    sent.and(replacement(1, FEES), inclusion(0), { ...reorg(0), outcomes: executed }).when({ type: 'Sign', signature: signature(1) }).then(signature(1));
  });
});

describe('a replacement', () => {
  it('follows the attempt before it, and only while nothing is mined', () => {
    sent.when({ type: 'Replace', replacement: replacement(1, FEES) }).then(replacement(1, FEES));
    sent.and(replacement(1, FEES)).when({ type: 'Replace', replacement: replacement(1, FEES) }).thenNothing();
    sent.and(replacement(1, FEES)).when({ type: 'Replace', replacement: replacement(2, FEES) }).thenRejected({ code: 'ATTEMPT_NOT_PLANNED', attempt: 2 });
    sent.when({ type: 'Replace', replacement: replacement(2, FEES) }).thenRejected({ code: 'ATTEMPT_OUT_OF_ORDER', attempt: 2, expected: 1 });
    given(transactionDecider, plan).when({ type: 'Replace', replacement: replacement(1, FEES) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'planned' });
    sent.and(inclusion(0)).when({ type: 'Replace', replacement: replacement(1, FEES) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'included' });
  });

  it('outbids both fees of the attempt before', () => {
    sent.when({ type: 'Replace', replacement: { ...replacement(1, FEES), priorityFeePerGasWeiMax: '8' } }).thenRejected({ code: 'UNDERPRICED', attempt: 1 });
    sent.when({ type: 'Replace', replacement: { ...replacement(1, FEES), feePerGasWeiMax: '90' } }).thenRejected({ code: 'UNDERPRICED', attempt: 1 });
    sent.when({ type: 'Replace', replacement: { ...replacement(1, FEES), feePerGasWeiMax: '91', priorityFeePerGasWeiMax: '10' } }).then({ ...replacement(1, FEES), feePerGasWeiMax: '91', priorityFeePerGasWeiMax: '10' });
  });

  it('by a no-op is the last word about the intents: only dearer no-ops follow', () => {
    const freed = sent.and(replacement(1, NO_OP), signature(1));
    freed.when({ type: 'Replace', replacement: replacement(2, FEES) }).thenRejected({ code: 'NO_OP_ALREADY', attempt: 2 });
    freed.when({ type: 'Replace', replacement: replacement(2, NO_OP) }).then(replacement(2, NO_OP));
  });

  it('cancels its own intents only', () => {
    sent.when({ type: 'Replace', replacement: replacement(1, NO_OP, ['z']) }).thenRejected({ code: 'FOREIGN_OUTCOME', intentId: 'z' });
    sent.and(replacement(1, NO_OP, ['a'])).when({ type: 'Sign', signature: signature(1) }).thenState((state) => {
      expect(state.phase === 'signed' ? [...cancelledBy(state.attempts)] : []).toEqual(['a']);
    });
  });
});

describe('the block of a nonce', () => {
  it('may hold any signed attempt, and no other bytes', () => {
    replaced.when({ type: 'Include', inclusion: inclusion(0) }).then(inclusion(0));
    replaced.when({ type: 'Include', inclusion: inclusion(1) }).then(inclusion(1));
    replaced.when({ type: 'Include', inclusion: inclusion(2) }).thenRejected({ code: 'FOREIGN_HASH', transactionHash: hashOf('0x02') });
    given(transactionDecider, plan).when({ type: 'Include', inclusion: inclusion(0) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'planned' });
  });

  it('answers for its own intents only', () => {
    sent.when({ type: 'Include', inclusion: inclusion(0, '0xb1', [outcome('z', true)]) }).thenRejected({ code: 'FOREIGN_OUTCOME', intentId: 'z' });
  });

  it('is recorded once, and replaced by another only after its reorg is on record', () => {
    sent.and(inclusion(0)).when({ type: 'Include', inclusion: inclusion(0) }).thenNothing();
    sent.and(inclusion(0)).when({ type: 'Include', inclusion: inclusion(0, '0xb2') }).thenRejected({ code: 'OTHER_BLOCK', blockHash: '0xb1' });
    // One block, another attempt: a fork at the same height that ended with the same hash is impossible, so this is a lie.
    replaced.and(inclusion(0)).when({ type: 'Include', inclusion: inclusion(1) }).thenRejected({ code: 'OTHER_BLOCK', blockHash: '0xb1' });
  });

  it('takes back with its reorg exactly what its inclusion had said, and leaves the other attempts possible', () => {
    const taken = { ...reorg(0), outcomes: executed };
    replaced.and(inclusion(0)).when({ type: 'Reorg', reorg: reorg(0) }).then(taken);
    replaced.and(inclusion(0), taken).when({ type: 'Include', inclusion: inclusion(1, '0xb2') }).then(inclusion(1, '0xb2'));
    replaced.and(inclusion(0), taken).when({ type: 'Reorg', reorg: reorg(0) }).thenNothing();
    sent.and(inclusion(0)).when({ type: 'Reorg', reorg: reorg(0, '0xb9') }).thenRejected({ code: 'OTHER_BLOCK', blockHash: '0xb1' });
  });
});

describe('the end of a nonce', () => {
  it('is the very block and attempt that are recorded as included', () => {
    sent.and(inclusion(0)).when({ type: 'Finalize', finality: finality(0) }).then(finality(0));
    sent.and(inclusion(0), finality(0)).when({ type: 'Finalize', finality: finality(0) }).thenNothing();
    sent.and(inclusion(0)).when({ type: 'Finalize', finality: finality(0, executed, [], '0xb2') }).thenRejected({ code: 'OTHER_BLOCK', blockHash: '0xb1' });
    replaced.and(inclusion(1)).when({ type: 'Finalize', finality: { ...finality(1), attempt: 0 } }).thenRejected({ code: 'FOREIGN_HASH', transactionHash: hashOf('0x01') });
    sent.when({ type: 'Finalize', finality: finality(0) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'signed' });
  });

  it('accounts for each intent once: an outcome, or back to the queue', () => {
    const mined = sent.and(inclusion(0));
    const [a, b] = ['a', 'b'].map((intentId) => outcome(intentId, true));
    mined.when({ type: 'Finalize', finality: finality(0, [outcome('a', true)], ['b']) }).then(finality(0, [outcome('a', true)], ['b']));
    mined.when({ type: 'Finalize', finality: finality(0, [a ?? outcome('a', true)]) }).thenRejected({ code: 'INTENT_UNACCOUNTED', intentId: 'b' });
    mined.when({ type: 'Finalize', finality: finality(0, executed, ['b']) }).thenRejected({ code: 'INTENT_UNACCOUNTED', intentId: 'b' });
    mined.when({ type: 'Finalize', finality: finality(0, [...executed, b ?? outcome('b', true)]) }).thenRejected({ code: 'INTENT_UNACCOUNTED', intentId: 'b' });
    mined.when({ type: 'Finalize', finality: finality(0, executed, ['z']) }).thenRejected({ code: 'FOREIGN_OUTCOME', intentId: 'z' });
  });

  it('by a no-op gives the intents back, except those that were cancelled, and executes none', () => {
    const freed = sent.and(replacement(1, NO_OP, ['a']), signature(1), inclusion(1, '0xb1', []));
    const cancelled = outcome('a', false, IntentReason.INTENT_REASON_CANCELLED);
    freed.when({ type: 'Finalize', finality: finality(1, [cancelled], ['b']) }).then(finality(1, [cancelled], ['b']));
    freed.when({ type: 'Finalize', finality: finality(1, [outcome('a', true)], ['b']) }).thenRejected({ code: 'NO_OP_EXECUTES_NOTHING', intentId: 'a' });
    freed.when({ type: 'Finalize', finality: finality(1, [cancelled, outcome('b', false)]) }).thenRejected({ code: 'NO_OP_EXECUTES_NOTHING', intentId: 'b' });
    // The original won although a no-op was on its way: then its outcomes stand, and a cancellation came too late.
    sent.and(replacement(1, NO_OP, ['a']), signature(1), inclusion(0)).when({ type: 'Finalize', finality: finality(0) }).then(finality(0));
  });

  it('is contradicted once when a reorg goes deeper than finality, and stays the end', () => {
    const final = sent.and(inclusion(0), finality(0));
    final.when({ type: 'Reorg', reorg: reorg(0) }).then({ ...reorg(0), outcomes: executed });
    final.and({ ...reorg(0), outcomes: executed }).when({ type: 'Reorg', reorg: reorg(0) }).thenNothing();
    final.when({ type: 'Reorg', reorg: reorg(0, '0xb9') }).thenRejected({ code: 'OTHER_BLOCK', blockHash: '0xb1' });
    final.and({ ...reorg(0), outcomes: executed }).when({ type: 'Include', inclusion: inclusion(0, '0xb2') }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'final' });
  });

  it('by foreign bytes gives back every intent, and is final', () => {
    sent.when({ type: 'Displace', displacement: displacement() }).then(displacement());
    given(transactionDecider, plan).when({ type: 'Displace', displacement: displacement() }).then(displacement());
    sent.when({ type: 'Displace', displacement: displacement(['a']) }).thenRejected({ code: 'INTENT_UNACCOUNTED', intentId: 'b' });
    sent.and(inclusion(0)).when({ type: 'Displace', displacement: displacement() }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'included' });
    sent.and(displacement()).when({ type: 'Displace', displacement: displacement() }).thenNothing();
    sent.and(displacement()).when({ type: 'Include', inclusion: inclusion(0) }).thenRejected({ code: 'OUT_OF_ORDER', phase: 'displaced' });
  });
});

describe('a log from before there were attempts', () => {
  it('reads as attempt 0 of a transaction that executes intents', () => {
    const old = [
      { type: 'TransactionPlanned' as const, ...TransactionPlanned.decode(TransactionPlanned.encode({ ...plan, purpose: 0, fencingToken: 0n }).finish()) },
      { type: 'TransactionSigned' as const, ...TransactionSigned.decode(TransactionSigned.encode(signature(0)).finish()) },
      inclusion(0, '0xb1', []),
    ];
    given(transactionDecider, ...old).when({ type: 'Finalize', finality: finality(0) }).then(finality(0));
    // An old fact names nobody as returned although its transaction reverted: it folds all the same.
    const reverted = { type: 'TransactionFinalized' as const, ...TransactionFinalized.decode(TransactionFinalized.encode(finality(0, [])).finish()) };
    expect(fold(transactionDecider, [...old, reverted]).phase).toBe('final');
    // And what is open may be replaced.
    given(transactionDecider, ...old.slice(0, 2)).when({ type: 'Replace', replacement: replacement(1, FEES) }).then(replacement(1, FEES));
  });
});

describe('whatever is asked of a nonce, in whatever order', () => {
  const attempt = fc.integer({ min: 0, max: 3 });
  const block = fc.constantFrom('0xb1', '0xb2', '0xb3');
  const command: fc.Arbitrary<TransactionCommand> = fc.oneof(
    fc.constantFrom<TransactionCommand>({ type: 'Plan', plan }, { type: 'Plan', plan: { ...plan, intentIds: ['c', 'd'] } }),
    fc.tuple(attempt, fc.constantFrom(FEES, NO_OP), fc.constantFrom<string[]>([], ['a'])).map(([n, kind, cancelled]): TransactionCommand => ({ type: 'Replace', replacement: replacement(n, kind, kind === NO_OP ? cancelled : []) })),
    fc.tuple(attempt, fc.boolean()).map(([n, other]): TransactionCommand => ({ type: 'Sign', signature: other ? signature(n, `0xf${n}`) : signature(n) })),
    fc.tuple(attempt, block).map(([n, hash]): TransactionCommand => ({ type: 'Include', inclusion: inclusion(n, hash) })),
    fc.tuple(attempt, block).map(([n, hash]): TransactionCommand => ({ type: 'Reorg', reorg: reorg(n, hash) })),
    fc.tuple(attempt, block, fc.constantFrom<[IntentOutcome[], string[]]>([executed, []], [[], ['a', 'b']], [[outcome('a', false, IntentReason.INTENT_REASON_CANCELLED)], ['b']])).map(
      ([n, hash, [outcomes, returned]]): TransactionCommand => ({ type: 'Finalize', finality: finality(n, outcomes, returned, hash) }),
    ),
    fc.constant<TransactionCommand>({ type: 'Displace', displacement: displacement() }),
  );
  const run = (commands: readonly TransactionCommand[]): readonly TransactionEvent[] => {
    const log: TransactionEvent[] = [];
    for (const it of commands) {
      const decision = transactionDecider.decide(it, fold(transactionDecider, log));
      if (decision.kind === 'accepted') log.push(...decision.events);
    }
    return log;
  };
  const holds = (check: (log: readonly TransactionEvent[]) => void): void => {
    // Begins with a plan and its signature, or most runs would end before anything interesting.
    fc.assert(fc.property(fc.array(command, { maxLength: 40 }), (rest) => check(run([{ type: 'Plan', plan }, { type: 'Sign', signature: signature(0) }, ...rest]))), { numRuns: 2_000 });
  };
  const of = <T extends TransactionEvent['type']>(log: readonly TransactionEvent[], type: T) => log.filter((event): event is Extract<TransactionEvent, { type: T }> => event.type === type);

  it('never two different sets of intents stand for one nonce (I5): one plan, and each attempt signed once after it was planned', () => {
    holds((log) => {
      expect(of(log, 'TransactionPlanned')).toHaveLength(1);
      const attempts = of(log, 'TransactionSigned').map((it) => it.attempt);
      expect(new Set(attempts).size).toBe(attempts.length);
      for (const signed of of(log, 'TransactionSigned')) {
        if (signed.attempt === 0) continue;
        const planned = log.findIndex((it) => it.type === 'ReplacementPlanned' && it.attempt === signed.attempt);
        expect(planned).toBeGreaterThanOrEqual(0);
        expect(planned).toBeLessThan(log.indexOf(signed));
      }
    });
  });

  it('intents leave the nonce once: executed, failed or given back, and after that nothing more happens', () => {
    holds((log) => {
      const ends = log.filter((it) => it.type === 'TransactionFinalized' || it.type === 'TransactionDisplaced');
      expect(ends.length).toBeLessThanOrEqual(1);
      const [end] = ends;
      if (end === undefined) return;
      // But that the end itself is contradicted, once.
      const after = log.slice(log.indexOf(end) + 1);
      expect(after.length).toBeLessThanOrEqual(1);
      expect(after.every((it) => it.type === 'TransactionReorged' && end.type === 'TransactionFinalized' && it.blockHash === end.blockHash)).toBe(true);
      const answered = end.type === 'TransactionFinalized' ? end.outcomes.map((it) => it.intentId) : [];
      expect([...answered, ...end.returnedIntentIds].sort()).toEqual(['a', 'b']);
    });
  });

  it('each reorg takes back what the inclusion before it had said, and at most one inclusion stands', () => {
    holds((log) => {
      let standing: readonly IntentOutcome[] | undefined;
      for (const event of log) {
        if (event.type === 'TransactionIncluded') {
          expect(standing).toBeUndefined();
          standing = event.outcomes;
        }
        if (event.type === 'TransactionFinalized') standing = event.outcomes;
        if (event.type === 'TransactionReorged') {
          expect(event.outcomes).toEqual(standing);
          standing = undefined;
        }
      }
    });
  });

  it('after a no-op is planned no further attempt carries the intents, and prices only rise', () => {
    holds((log) => {
      const replacements = of(log, 'ReplacementPlanned');
      const first = replacements.findIndex((it) => it.kind === NO_OP);
      if (first >= 0) expect(replacements.slice(first).every((it) => it.kind === NO_OP)).toBe(true);
      const prices = replacements.map((it) => BigInt(it.feePerGasWeiMax));
      expect(prices.every((price, i) => i === 0 || price > (prices[i - 1] ?? 0n))).toBe(true);
    });
  });
});

it('names a stream that no other nonce, key or chain shares', () => {
  expect(transactionStreamOf('eip155:1', '0xkey', 5n)).toBe('transaction-eip155:1-0xkey-5');
});

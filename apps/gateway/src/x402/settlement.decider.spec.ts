import { fold } from '@settlement/kernel/decider';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { given } from '@settlement/testing/given';
import { settlementCodec } from './settlement.codec';
import { settlementDecider, type SettlementCommand, type SettlementState } from './settlement.decider';
import type { SettlementEvent } from './settlement.events';

const id = 'x402_00000000000000000000000000' as never;
const terms = {
  settlementId: id, version: 2, network: 'eip155:31337', chainId: 'eip155:31337' as never, amount: { token: 'USDC' as never, amount: 5n as never }, tokenAddress: `0x${'c1'.repeat(20)}` as never,
  payer: `0x${'a1'.repeat(20)}` as never, payee: `0x${'b1'.repeat(20)}` as never,
  authorization: { method: 'eip3009', validAfter: 0n as never, validBefore: 99n as never, nonce: `0x${'01'.repeat(32)}` as never, signature: '0x12' as never },
  deployment: undefined, payloadDigest: 'p1', requirementsDigest: 'r1', identifierDigest: '', sponsorId: 'spo_x' as never, foreign: undefined,
} as const;
const nowNs = 7n as never;
const execution = { transactionHash: '0xaa', blockNumber: 3n };

const accept = { type: 'Accept', terms, nowNs } as const;
const sponsor = { type: 'RecordSponsorship', screeningId: 'scr_1' as never, listVersions: ['l@1'], reservationId: 'rsv_1' as never, reserved: 9n as never, nowNs } as const;
const submit = { type: 'RecordSubmission', intentId: 'int_1' as never, nowNs } as const;
const execute = { type: 'RecordExecution', execution, foreign: false, answered: true, nowNs } as const;
const withdraw = { type: 'Withdraw', code: 'DOWN', nowNs } as const;
const reorg = { type: 'RecordReorg', transactionHash: '0xaa', nowNs } as const;
const refuse = (stage: 'screening' | 'sponsorship' | 'relay' | 'execution') => ({ type: 'Refuse', stage, reason: 'why', code: 'CODE', nowNs }) as const;

/** The events of these commands, each on the state that the ones before it made. */
function after(...commands: readonly SettlementCommand[]): readonly SettlementEvent[] {
  const events: SettlementEvent[] = [];
  for (const command of commands) {
    const decision = settlementDecider.decide(command, fold(settlementDecider, events));
    if (decision.kind === 'rejected') throw new Error(decision.rejection.code);
    events.push(...decision.events);
  }
  return events;
}

const stateAfter = (...commands: readonly SettlementCommand[]): SettlementState => fold(settlementDecider, after(...commands));

describe('an x402 settlement', () => {
  it('is accepted once, and again as the next attempt after it was withdrawn', () => {
    given(settlementDecider).when(accept).then({ ...terms, type: 'X402PaymentAccepted', attempt: 1, acceptedAtNs: nowNs });
    given(settlementDecider, ...after(accept)).when(accept).thenNothing();
    given(settlementDecider, ...after(accept, withdraw)).when(accept).then({ ...terms, type: 'X402PaymentAccepted', attempt: 2, acceptedAtNs: nowNs });
  });

  it('takes no other payload, not even after it was withdrawn', () => {
    const other = { ...accept, terms: { ...terms, payloadDigest: 'p2' } };
    for (const events of [after(accept), after(accept, withdraw), after(accept, sponsor, submit, execute)]) {
      given(settlementDecider, ...events).when(other).thenRejected({ code: 'OTHER_PAYLOAD', payloadDigest: 'p1' });
    }
  });

  it('is not withdrawn once gas is reserved, and not sponsored once withdrawn', () => {
    given(settlementDecider, ...after(accept, sponsor)).when(withdraw).thenRejected({ code: 'MOVED_ON', status: 'sponsored' });
    given(settlementDecider, ...after(accept, withdraw)).when(sponsor).thenRejected({ code: 'MOVED_ON', status: 'withdrawn' });
  });

  it('is refused for screening and sponsor before gas is reserved, by relayer and chain after it', () => {
    expect(stateAfter(accept, refuse('screening'))).toMatchObject({ status: 'refused', reason: 'why' });
    given(settlementDecider, ...after(accept)).when(refuse('execution')).thenRejected({ code: 'MOVED_ON', status: 'accepted' });
    given(settlementDecider, ...after(accept, sponsor)).when(refuse('screening')).thenRejected({ code: 'MOVED_ON', status: 'sponsored' });
    given(settlementDecider, ...after(accept, sponsor, submit)).when(refuse('relay')).thenRejected({ code: 'MOVED_ON', status: 'submitted' });
    expect(stateAfter(accept, sponsor, submit, refuse('execution'))).toMatchObject({ status: 'refused', stage: 'execution' });
  });

  it('settles when the chain is faster than the record of its submission, and once', () => {
    expect(stateAfter(accept, sponsor, execute)).toMatchObject({ status: 'settled', execution });
    given(settlementDecider, ...after(accept, sponsor, submit, execute)).when(execute).thenNothing();
  });

  it('goes back to submitted with its block, remembers that it was told, and settles again', () => {
    const events = after(accept, sponsor, submit, execute, reorg);
    expect(fold(settlementDecider, events)).toMatchObject({ status: 'submitted' });
    given(settlementDecider, ...events)
      .when({ ...execute, answered: false, execution: { transactionHash: '0xbb', blockNumber: 4n } })
      .then({ type: 'X402PaymentSettled', settlementId: id, transactionHash: '0xbb', blockNumber: 4n, foreign: false, answered: true, settledAtNs: nowNs });
    given(settlementDecider, ...after(accept, sponsor, submit, execute)).when({ ...reorg, transactionHash: '0xcc' }).thenNothing();
  });

  it('tells its first answer once', () => {
    const untold = after(accept, sponsor, submit, { ...execute, answered: false });
    given(settlementDecider, ...untold).when({ type: 'RecordAnswer', nowNs }).then({ type: 'X402PaymentAnswered', settlementId: id, answeredAtNs: nowNs });
    given(settlementDecider, ...after(accept, sponsor, submit, execute)).when({ type: 'RecordAnswer', nowNs }).thenNothing();
  });

  it('in whatever order it is told things: sends only what is sponsored, is settled at most once at a time, never leaves a refusal', () => {
    const commands = fc.constantFrom<SettlementCommand>(
      accept, sponsor, submit, execute, { ...execute, answered: false }, withdraw, reorg, refuse('screening'), refuse('sponsorship'), refuse('relay'), refuse('execution'), { type: 'RecordAnswer', nowNs },
      { type: 'RecordForeignExecution', screeningId: 'scr_1' as never, listVersions: [], answered: true, nowNs },
    );
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 40 }), (sequence) => {
        const events: SettlementEvent[] = [];
        for (const command of sequence) {
          const decision = settlementDecider.decide(command, fold(settlementDecider, events));
          if (decision.kind === 'accepted') events.push(...decision.events);
        }
        const types = events.map(({ type }) => type);
        const chain = types.filter((type) => type === 'X402PaymentSettled' || type === 'X402PaymentReorged');
        chain.forEach((type, i) => {
          expect(type).toBe(i % 2 === 0 ? 'X402PaymentSettled' : 'X402PaymentReorged');
        });
        const sponsored = types.indexOf('X402PaymentSponsored');
        expect(types.slice(sponsored < 0 ? types.length : sponsored)).not.toContain('X402PaymentWithdrawn');
        if (types.includes('X402PaymentSubmitted')) expect(sponsored).toBeGreaterThanOrEqual(0);
        const refused = types.indexOf('X402PaymentRefused');
        if (refused >= 0) expect(types.slice(refused + 1)).toEqual([]);
        // I6: what is stored is what was decided.
        expect(events.map((event) => settlementCodec.decode(settlementCodec.encode(event)))).toEqual(events);
      }),
    );
  });
});

describe('the codec of settlements', () => {
  it('keeps a Permit2 payment, a wallet to deploy and a stranger\'s execution', () => {
    const event: SettlementEvent = {
      ...terms, type: 'X402PaymentAccepted', attempt: 3, acceptedAtNs: nowNs,
      authorization: { method: 'permit2', validAfter: 0n as never, deadline: 99n as never, nonce: 2n ** 255n + 7n, signature: '0x34' as never },
      deployment: { factory: `0x${'f1'.repeat(20)}` as never, factoryData: '0xabcd' as never },
      foreign: { transactionHash: '0xdd', blockNumber: 12n },
    };
    expect(settlementCodec.decode(settlementCodec.encode(event))).toEqual(event);
  });
});

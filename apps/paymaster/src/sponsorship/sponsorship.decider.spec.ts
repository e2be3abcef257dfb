import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { assertFrozenFixtures } from '@settlement/event-store/frozen-fixtures';
import { fold } from '@settlement/kernel/decider';
import type { SponsorshipExpired, SponsorshipGranted, SponsorshipIssued, SponsorshipSettled } from '@settlement/proto/paymaster/v1/events';
import { given } from '@settlement/testing/given';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { policyCodec } from '../policy/sponsor-policies';
import { policyDecider } from '../policy/sponsor-policy.decider';
import type { UnixNs } from '@settlement/kernel/time';
import { sponsorshipDecider, type SponsorshipCommand } from './sponsorship.decider';
import { sponsorshipCodec, type SponsorshipEvent } from './sponsorship.events';

const id = `0x${'5a'.repeat(32)}`;
const at = 1_700_000_000_000_000_000n;
const grant: SponsorshipGranted = {
  sponsorshipId: id, sponsorId: 'acme', reservationId: `uop-${id}`, chainId: 'eip155:8453', entryPoint: `0x${'e1'.repeat(20)}`, paymaster: `0x${'fa'.repeat(20)}`, operationDigest: 'ab'.repeat(32), generation: 1,
  operation: {
    sender: `0x${'aa'.repeat(20)}`, nonce: '7', factory: `0x${'fc'.repeat(20)}`, factoryData: '0x01', callData: '0xb61d27f6', callGasLimit: '50000', verificationGasLimit: '60000', preVerificationGas: '70000',
    feePerGasWeiMax: '2000000000', priorityFeePerGasWeiMax: '1000000000', paymaster: `0x${'fa'.repeat(20)}`, paymasterVerificationGasLimit: '60000', paymasterPostOpGasLimit: '40000', paymasterData: '0x', signature: '0x',
  },
  costWeiMax: '560000000000000', validAfter: 0n, validUntil: 1_700_000_600n, screeningId: `scr-uop-${id}`, policyVersion: 3n, calls: [{ to: `0x${'0c'.repeat(20)}`, selector: '0x095ea7b3', valueWei: '0' }], grantedAtNs: at,
};
const issue: SponsorshipIssued = {
  sponsorshipId: id, sponsorId: 'acme', operationDigest: grant.operationDigest, signer: `0x${'51'.repeat(20)}`, signedHash: `0x${'1a'.repeat(32)}`, paymasterData: '0x0102', userOperationHash: `0x${'0b'.repeat(32)}`,
  caps: { callGasLimit: 50_000n, verificationGasLimit: 60_000n, preVerificationGas: 70_000n, paymasterVerificationGasLimit: 60_000n, paymasterPostOpGasLimit: 40_000n, feePerGasWei: '2000000000', priorityFeePerGasWei: '1000000000' },
  reservationId: grant.reservationId, screeningId: grant.screeningId, validUntil: grant.validUntil, issuedAtNs: at + 1n,
};
const settlement: SponsorshipSettled = {
  sponsorshipId: id, sponsorId: 'acme', reservationId: grant.reservationId, chainId: grant.chainId, userOperationHash: issue.userOperationHash, transactionHash: `0x${'7a'.repeat(32)}`, blockNumber: 42n, costWei: '123', succeeded: true, settledAtNs: at + 2n,
};
const expiryAt = (blockTime: bigint): SponsorshipExpired => ({ sponsorshipId: id, sponsorId: 'acme', reservationId: grant.reservationId, chainId: grant.chainId, blockNumber: 43n, blockUnixSeconds: blockTime, expiredAtNs: at + 3n });
const granted: SponsorshipEvent = { type: 'SponsorshipGranted', ...grant };
const issued: SponsorshipEvent = { type: 'SponsorshipIssued', ...issue };
const settled: SponsorshipEvent = { type: 'SponsorshipSettled', ...settlement };
const expired: SponsorshipEvent = { type: 'SponsorshipExpired', ...expiryAt(grant.validUntil + 1n) };

describe('sponsorship', () => {
  it('is granted once, then signed once', () => {
    given(sponsorshipDecider).when({ type: 'Grant', grant }).then(granted);
    given(sponsorshipDecider, granted).when({ type: 'Grant', grant }).thenNothing();
    given(sponsorshipDecider, granted).when({ type: 'Issue', issue }).then(issued);
    given(sponsorshipDecider, granted, issued).when({ type: 'Issue', issue: { ...issue, paymasterData: '0xff' } }).thenRejected({ code: 'ALREADY_ISSUED' });
    given(sponsorshipDecider).when({ type: 'Issue', issue }).thenRejected({ code: 'NOT_GRANTED' });
  });

  it('is settled by what the chain took, once, also unsigned or too late: the chain has the last word', () => {
    given(sponsorshipDecider, granted, issued).when({ type: 'Settle', settlement }).then(settled);
    given(sponsorshipDecider, granted, issued, settled).when({ type: 'Settle', settlement }).thenNothing();
    given(sponsorshipDecider, granted, issued, expired).when({ type: 'Settle', settlement }).then(settled);
    given(sponsorshipDecider).when({ type: 'Settle', settlement }).thenRejected({ code: 'NOT_GRANTED' });
  });

  it('expires only by a block younger than its end, signed or not', () => {
    given(sponsorshipDecider, granted, issued).when({ type: 'Expire', expiry: expiryAt(grant.validUntil) }).thenRejected({ code: 'STILL_VALID' });
    given(sponsorshipDecider, granted, issued).when({ type: 'Expire', expiry: expiryAt(grant.validUntil + 1n) }).then(expired);
    given(sponsorshipDecider, granted).when({ type: 'Expire', expiry: expiryAt(grant.validUntil + 1n) }).then(expired);
    given(sponsorshipDecider, granted, issued, settled).when({ type: 'Expire', expiry: expiryAt(grant.validUntil + 9n) }).thenNothing();
    given(sponsorshipDecider, granted, expired).when({ type: 'Issue', issue }).thenRejected({ code: 'ALREADY_OVER' });
  });

  it('never has two signatures or two ends, in whatever order commands come', () => {
    const commands: SponsorshipCommand[] = [{ type: 'Grant', grant }, { type: 'Issue', issue }, { type: 'Settle', settlement }, { type: 'Expire', expiry: expiryAt(grant.validUntil + 1n) }];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...commands), { maxLength: 12 }), (order) => {
        const log: SponsorshipEvent[] = [];
        for (const command of order) {
          const decision = sponsorshipDecider.decide(command, fold(sponsorshipDecider, log));
          if (decision.kind === 'accepted') log.push(...decision.events);
        }
        const count = (type: SponsorshipEvent['type']): number => log.filter((event) => event.type === type).length;
        for (const type of ['SponsorshipGranted', 'SponsorshipIssued', 'SponsorshipSettled', 'SponsorshipExpired'] as const) expect(count(type)).toBeLessThanOrEqual(1);
        if (log.length > 0) expect(log[0]?.type).toBe('SponsorshipGranted');
        // Nothing is released after the chain was seen to take it.
        if (count('SponsorshipSettled') === 1 && count('SponsorshipExpired') === 1) expect(log.at(-1)?.type).toBe('SponsorshipSettled');
      }),
    );
  });
});

describe('events of sponsorships and policies', () => {
  const fixtures = join(repositoryRoot, 'apps/paymaster/src/fixtures');
  const update = process.env['UPDATE_FIXTURES'] === '1';

  it('keep their bytes', () => {
    assertFrozenFixtures(sponsorshipCodec, join(fixtures, 'sponsorship'), [granted, issued, settled, expired], update);
    const decision = policyDecider.decide(
      {
        type: 'SetPolicy', sponsorId: 'acme', setBy: 'treasury', nowNs: at as UnixNs,
        policy: {
          enabled: true, senders: [`0x${'aa'.repeat(20)}`], factories: [], contracts: [{ address: `0x${'0c'.repeat(20)}`, selectors: ['0x095ea7b3'] }], allowUndecodable: false,
          caps: { callGasLimit: 1n, verificationGasLimit: 2n, preVerificationGas: 3n, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n, feePerGasWei: '4', priorityFeePerGasWei: '5' },
          costPerOperationWeiMax: '6', senderQuotas: [{ seconds: 7n, countMax: 8n, amountWeiMax: '9' }], sponsorQuotas: [], validitySeconds: 10n, displayName: 'Acme', displayIcon: 'https://example.com/a.png',
        },
      },
      policyDecider.initialState,
    );
    assertFrozenFixtures(policyCodec, join(fixtures, 'policy'), decision.kind === 'accepted' ? decision.events : [], update);
  });
});

import { selectorOf, type AccountCall } from '@settlement/chain/account-calls';
import { toHex } from '@settlement/chain/hex';
import {
  encodePaymasterData,
  keyOf,
  PAYMASTER_POST_OP_GAS,
  PAYMASTER_VERIFICATION_GAS,
  sponsorshipDigest,
  stubPaymasterData,
  type GasCaps,
  type SponsorshipTerms,
} from '@settlement/chain/sponsor-paymaster';
import { costWeiMaxOf, EIP7702_FACTORY, userOperationHash, type UserOperation } from '@settlement/chain/user-operation';
import { userOperationFromMessage, userOperationToMessage } from '@settlement/chain/user-operation-json';
import { eip155Number, type Bytes32, type ChainId, type EvmAddress, type HexBytes } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import { nsToSeconds, type Clock } from '@settlement/kernel/time';
import type { SponsorshipGranted, SponsorshipIssued } from '@settlement/proto/paymaster/v1/events';
import type { SponsorPolicies } from '../policy/sponsor-policies';
import type { SponsorPolicy } from '../policy/sponsor-policy';
import type { EntryPointAt, OperationChain } from '../ports/operation-chain';
import type { OperationScreener } from '../ports/operation-screener';
import type { PaymasterMetrics } from '../ports/paymaster-metrics';
import type { PaymasterSigner } from '../ports/paymaster-signer';
import type { SponsorshipBook } from '../ports/sponsorship-book';
import { allowGas, allowOperation, type AllowanceRefusal } from './allowance.policy';
import { operationDigest, sponsorshipIdOf } from './operation-digest';
import { payeesOf } from './payees.policy';
import type { GrantOutcome, SponsorshipDesk } from './sponsorship-desk';
import { reservationOf } from './sponsorship.events';

export type SponsorRefusal =
  | AllowanceRefusal
  | { readonly code: 'TOO_MANY_PAYEES' }
  | { readonly code: 'SCREENING_REJECTED' | 'SCREENING_HOLD' }
  | { readonly code: 'OPERATION_FAILS'; readonly stage: 'deployment' | 'validation' | 'execution'; readonly reason: string; readonly data: HexBytes }
  | Extract<GrantOutcome, { kind: 'refused' }>['refusal'];

export interface SponsorQuestion {
  readonly operation: UserOperation;
  readonly chainId: ChainId;
  readonly entryPoint: EntryPointAt;
  readonly sponsorId: SponsorId;
  readonly traceparent: string;
}

export interface PaymasterFields {
  readonly paymaster: EvmAddress;
  readonly paymasterData: HexBytes;
  readonly paymasterVerificationGasLimit: bigint;
  readonly paymasterPostOpGasLimit: bigint;
}

export type SponsorAnswer =
  | { readonly kind: 'sponsored'; readonly fields: PaymasterFields; readonly policy: SponsorPolicy; readonly sponsorshipId?: string }
  | { readonly kind: 'refused'; readonly refusal: SponsorRefusal };

export interface OperationSponsorOptions {
  readonly desk: SponsorshipDesk;
  readonly book: SponsorshipBook;
  readonly policies: SponsorPolicies;
  readonly screener: OperationScreener;
  readonly signer: PaymasterSigner;
  readonly chainOf: (chainId: ChainId) => OperationChain;
  readonly clock: Clock;
  readonly metrics: Pick<PaymasterMetrics, 'operation'>;
}

/**
 * A recorded signature with less time than this left is not handed out again: the wallet still has to ask its user to sign.
 * A quarter of shorter validities.
 */
const SECONDS_LEFT_MIN = 60n;

/** Says whether a sponsor pays for an operation, and signs that it does. */
export class OperationSponsor {
  constructor(private readonly options: OperationSponsorOptions) {}

  /** ERC-7677 stub: fields of final length and cost, so that an estimate with them is right. Nothing is reserved. */
  async stub({ operation, entryPoint, sponsorId }: SponsorQuestion): Promise<SponsorAnswer> {
    const { policy } = await this.options.policies.find(sponsorId);
    const allowance = allowOperation(operation, policy);
    if (!allowance.allowed) return { kind: 'refused', refusal: allowance.refusal };
    invariant(policy !== undefined, 'POLICY_MISSING', 'an operation was allowed by no policy');
    return { kind: 'sponsored', policy, fields: fieldsOf(entryPoint, stubPaymasterData()) };
  }

  /**
   * Reserves, records, signs; in this order. The same operation is answered as it was recorded as long as its signature has time
   * left, also by another process, also after a crash at any point.
   */
  async sponsor(question: SponsorQuestion): Promise<SponsorAnswer> {
    const answer = await this.answer(question);
    this.options.metrics.operation(answer.kind === 'sponsored' ? 'sponsored' : answer.refusal.code);
    return answer;
  }

  private async answer(question: SponsorQuestion): Promise<SponsorAnswer> {
    const { book, policies } = this.options;
    const { entryPoint, sponsorId, chainId } = question;
    const operation: UserOperation = { ...question.operation, ...fieldsOf(entryPoint, '0x' as HexBytes), signature: '0x' as HexBytes };
    const digest = operationDigest(operation, { sponsorId, chainId, entryPoint: entryPoint.address });
    const { policy, version } = await policies.find(sponsorId);
    const earlier = await book.latest(sponsorId, digest);
    if (earlier !== undefined && policy !== undefined) {
      const left = earlier.validUntil - nsToSeconds(this.options.clock.nowNs());
      const usable = earlier.state === 'settled' || (earlier.state !== 'expired' && left >= leftMin(policy.validitySeconds));
      if (usable) {
        const answer = await this.finish(earlier.sponsorshipId, question, policy);
        if (answer !== undefined) return answer;
      }
    }

    const allowance = allowOperation(operation, policy);
    if (!allowance.allowed) return { kind: 'refused', refusal: allowance.refusal };
    invariant(policy !== undefined, 'POLICY_MISSING', 'an operation was allowed by no policy');
    const refusal = await this.examine(operation, policy, question);
    if (refusal !== undefined) return { kind: 'refused', refusal };

    const generation = earlier === undefined ? 0 : earlier.generation + 1;
    const sponsorshipId = sponsorshipIdOf(digest, generation);
    const screeningId = `scr-${reservationOf(sponsorshipId)}`;
    const screened = await this.screen(screeningId, sponsorshipId, operation, allowance.calls ?? [], question);
    if (screened !== undefined) return { kind: 'refused', refusal: screened };

    const nowNs = this.options.clock.nowNs();
    const grant: SponsorshipGranted = {
      sponsorshipId,
      sponsorId,
      reservationId: reservationOf(sponsorshipId),
      chainId,
      entryPoint: entryPoint.address,
      paymaster: entryPoint.paymaster,
      operationDigest: digest,
      generation,
      operation: userOperationToMessage(operation),
      costWeiMax: costWeiMaxOf(operation).toString(),
      validAfter: 0n,
      validUntil: nsToSeconds(nowNs) + policy.validitySeconds,
      screeningId,
      policyVersion: version,
      calls: (allowance.calls ?? []).map(({ to, data, valueWei }) => ({ to, selector: selectorOf(data), valueWei: valueWei.toString() })),
      grantedAtNs: nowNs,
    };
    const outcome = await this.options.desk.grant(grant, policy, question.traceparent);
    if (outcome.kind === 'refused') return { kind: 'refused', refusal: outcome.refusal };
    // Crash here: reserved and recorded, not signed. The same question finds it above and signs.
    const answer = await this.finish(sponsorshipId, question, policy);
    invariant(answer !== undefined, 'SPONSORSHIP_MISSING', 'a sponsorship was granted and is not there', { sponsorshipId });
    return answer;
  }

  /** Gas figures against policy and our own estimate, and that the operation works at all. */
  private async examine(operation: UserOperation, policy: SponsorPolicy, { chainId, entryPoint }: SponsorQuestion): Promise<SponsorRefusal | undefined> {
    const outcome = await this.options.chainOf(chainId).estimate({ ...operation, paymasterData: stubPaymasterData(), signature: STUB_SIGNATURE }, entryPoint);
    if (!outcome.ok) return { code: 'OPERATION_FAILS', stage: outcome.stage, reason: outcome.reason, data: outcome.data };
    return allowGas(operation, costWeiMaxOf(operation), policy, outcome.estimate);
  }

  private async screen(screeningId: string, sponsorshipId: string, operation: UserOperation, calls: readonly AccountCall[], { chainId, traceparent }: SponsorQuestion): Promise<SponsorRefusal | undefined> {
    const payees = payeesOf(calls);
    if (payees === undefined) return { code: 'TOO_MANY_PAYEES' };
    const verdict = await this.options.screener.screen({ screeningId, sponsorshipId, chainId, sender: operation.sender, payees }, traceparent);
    if (verdict === 'allow') return undefined;
    return { code: verdict === 'hold' ? 'SCREENING_HOLD' : 'SCREENING_REJECTED' };
  }

  /** Answers what is issued; signs what is only granted. Undefined where the grant ended unsigned. */
  private async finish(sponsorshipId: string, question: SponsorQuestion, policy: SponsorPolicy): Promise<SponsorAnswer | undefined> {
    const { desk, signer, clock } = this.options;
    const { entryPoint } = question;
    const loaded = await desk.load(sponsorshipId);
    const { state } = loaded;
    const issued = 'issue' in state ? state.issue : undefined;
    if (issued !== undefined) return { kind: 'sponsored', policy, sponsorshipId, fields: fieldsOf(entryPoint, issued.paymasterData as HexBytes) };
    if (state.phase !== 'granted') return undefined;
    const { grant } = state;
    const operation = operationOf(grant);
    const terms = termsOf(grant, operation);
    const digest = sponsorshipDigest(operation, terms, { chainId: eip155Number(question.chainId), paymaster: entryPoint.paymaster, entryPoint: entryPoint.address });
    const signature = await signer.sign(digest);
    const paymasterData = encodePaymasterData(terms, signature);
    const issue: SponsorshipIssued = {
      sponsorshipId,
      sponsorId: grant.sponsorId,
      operationDigest: grant.operationDigest,
      signer: signer.address,
      signedHash: toHex(digest),
      paymasterData,
      userOperationHash: await this.hashOf({ ...operation, paymasterData }, question),
      caps: capsToWire(terms.caps),
      reservationId: grant.reservationId,
      screeningId: grant.screeningId,
      validUntil: grant.validUntil,
      issuedAtNs: clock.nowNs(),
    };
    const after = await desk.issue(issue, loaded, question.traceparent);
    // Hardware signs the same digest to other bytes: what is recorded is what everybody gets.
    const recorded = 'issue' in after ? after.issue : undefined;
    return recorded === undefined ? undefined : { kind: 'sponsored', policy, sponsorshipId, fields: fieldsOf(entryPoint, recorded.paymasterData as HexBytes) };
  }

  private async hashOf(operation: UserOperation, { chainId, entryPoint }: SponsorQuestion): Promise<string> {
    const delegate = operation.factory === EIP7702_FACTORY ? await this.options.chainOf(chainId).delegateOf(operation.sender) : undefined;
    return userOperationHash(operation, {
      entryPoint: entryPoint.address,
      version: entryPoint.version,
      chainId: eip155Number(chainId),
      ...(delegate === undefined ? {} : { eip7702Delegate: delegate }),
    });
  }
}

/** Of the length that most accounts sign with; estimates never look at it. */
const STUB_SIGNATURE = `0x${'fffffffffffffffffffffffffffffff0'.padEnd(64, '0')}${'7'.padEnd(64, 'a')}1c` as HexBytes;

const leftMin = (validitySeconds: bigint): bigint => (validitySeconds / 4n < SECONDS_LEFT_MIN ? validitySeconds / 4n : SECONDS_LEFT_MIN);

function fieldsOf({ paymaster }: EntryPointAt, paymasterData: HexBytes): PaymasterFields {
  return { paymaster, paymasterData, paymasterVerificationGasLimit: PAYMASTER_VERIFICATION_GAS, paymasterPostOpGasLimit: PAYMASTER_POST_OP_GAS };
}

function operationOf(grant: SponsorshipGranted): UserOperation {
  invariant(grant.operation !== undefined, 'SPONSORSHIP_WITHOUT_OPERATION', 'a grant holds no operation', { sponsorshipId: grant.sponsorshipId });
  return userOperationFromMessage(grant.operation);
}

/** The caps are what was asked for and found right: a user who raises a limit after this has no sponsor. */
function termsOf(grant: SponsorshipGranted, operation: UserOperation): SponsorshipTerms {
  return {
    sponsorshipKey: grant.sponsorshipId as Bytes32,
    sponsorKey: keyOf(grant.sponsorId),
    validUntil: grant.validUntil,
    validAfter: grant.validAfter,
    caps: {
      verificationGasLimit: operation.verificationGasLimit,
      callGasLimit: operation.callGasLimit,
      preVerificationGas: operation.preVerificationGas,
      paymasterVerificationGasLimit: operation.paymasterVerificationGasLimit,
      paymasterPostOpGasLimit: operation.paymasterPostOpGasLimit,
      feePerGasWei: operation.feePerGasWeiMax,
      priorityFeePerGasWei: operation.priorityFeePerGasWeiMax,
    },
    costWeiMax: BigInt(grant.costWeiMax),
  };
}

function capsToWire(caps: GasCaps): NonNullable<SponsorshipIssued['caps']> {
  return {
    callGasLimit: caps.callGasLimit,
    verificationGasLimit: caps.verificationGasLimit,
    preVerificationGas: caps.preVerificationGas,
    paymasterVerificationGasLimit: caps.paymasterVerificationGasLimit,
    paymasterPostOpGasLimit: caps.paymasterPostOpGasLimit,
    feePerGasWei: caps.feePerGasWei.toString(),
    priorityFeePerGasWei: caps.priorityFeePerGasWei.toString(),
  };
}

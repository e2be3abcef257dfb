import { quantity } from '@settlement/chain/hex';
import { decodePaymasterData } from '@settlement/chain/sponsor-paymaster';
import { preVerificationGasOf, type GasEstimate } from '@settlement/chain/user-operation-gas';
import { EIP7702_FACTORY, userOperationHash, type UserOperation } from '@settlement/chain/user-operation';
import { userOperationToMessage } from '@settlement/chain/user-operation-json';
import { eip155Number, type Bytes32, type ChainId } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import { nsToSeconds, type Clock } from '@settlement/kernel/time';
import { IntentReason, IntentState, SubmitOutcome, type IntentStatus, type SubmitRequest, type SubmitResponse } from '@settlement/proto/relayer/v1/relayer';
import { INVALID_PARAMS, JsonRpcError } from '@settlement/rpc/json-rpc-error';
import type { BundledEntryPoint, OperationNode } from '../ports/operation-node';
import type { OperationSlots } from '../ports/operation-slots';
import type { RegisteredSponsorship, SponsorshipRegister } from '../ports/sponsorship-register';
import { errorOfRefusal, EXECUTION_REVERTED, notSponsored, OUT_OF_TIME, REJECTED_BY_ACCOUNT } from './operation-error';

export interface BundlerOptions {
  readonly chainId: ChainId;
  readonly entryPoints: readonly BundledEntryPoint[];
  readonly node: OperationNode;
  readonly register: SponsorshipRegister;
  readonly slots: OperationSlots;
  readonly clock: Clock;
  submit(items: readonly SubmitRequest[], traceparent: string): Promise<readonly SubmitResponse[]>;
  intents(intentIds: readonly string[]): Promise<readonly IntentStatus[]>;
  /** As accepted; undefined for an intent that never was. */
  accepted(intentId: string): Promise<SubmitRequest | undefined>;
}

/** The id follows from the operation's hash: the same operation twice is the same intent. */
export const intentIdOf = (userOperationHash: Bytes32): string => `uop-${userOperationHash}`;

/** A signature with less time left could run out before the next block or two. Seconds. */
const VALIDITY_LEFT_MIN = 6n;
/** Beneath this share of our own figure the operation does not pay for its own bytes. */
const PRE_VERIFICATION_SHARE = { of: 10n, atLeast: 8n };

/**
 * The private pool: an operation that our paymaster has promised to pay becomes an intent of the relayer, with everything
 * that the relayer guarantees for intents. Operations of others are refused, which is why ERC-7562's rules against
 * strangers' validation code are not needed here: a bundle's operations are simulated together again before it is signed, and
 * what an invalid one costs is bounded by a sponsor's reservation.
 */
export class Bundler {
  constructor(private readonly options: BundlerOptions) {}

  get chainId(): ChainId {
    return this.options.chainId;
  }

  get entryPoints(): readonly BundledEntryPoint[] {
    return this.options.entryPoints;
  }

  async estimate(operation: UserOperation, entryPoint: BundledEntryPoint): Promise<GasEstimate> {
    const outcome = await this.options.node.estimate(operation, entryPoint);
    if (outcome.ok) return outcome.estimate;
    const { stage, reason, data } = outcome;
    throw new JsonRpcError(stage === 'execution' ? EXECUTION_REVERTED : REJECTED_BY_ACCOUNT, `the operation fails in its ${stage}: ${reason}`, { reason: 'OPERATION_FAILS', stage, revertData: data });
  }

  /** Accepts durably, or throws the reason as `JsonRpcError`. The same operation again answers the same hash at any time. */
  async send(operation: UserOperation, entryPoint: BundledEntryPoint, traceparent: string): Promise<Bytes32> {
    const hash = await this.hashOf(operation, entryPoint);
    const intentId = intentIdOf(hash);
    const known = await this.options.accepted(intentId);
    // The hash does not cover the signature: the accepted one stands, and a better one changes nothing about the operation.
    if (known !== undefined) return hash;

    const sponsorship = await this.sponsorshipOf(operation, entryPoint, traceparent);
    await this.examine(operation, entryPoint);
    await this.occupy(operation, entryPoint, hash);
    const [answer] = await this.options.submit(
      [
        {
          intentId,
          chainId: this.options.chainId,
          subjectId: hash,
          screeningId: sponsorship.screeningId,
          sponsorId: sponsorship.sponsorId,
          reservationId: sponsorship.reservationId,
          kind: { $case: 'userOperation', value: { entryPoint: entryPoint.address, userOperationHash: hash, operation: userOperationToMessage(operation) } },
        },
      ],
      traceparent,
    );
    invariant(answer !== undefined, 'SUBMIT_UNANSWERED', 'an intent was not answered', { intentId });
    if (answer.outcome === SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED) return hash;
    // Two callers with two signatures of one operation at once: one was faster, and it is accepted.
    if (answer.reason === IntentReason.INTENT_REASON_CONTENT_CHANGED) return hash;
    throw new JsonRpcError(REJECTED_BY_ACCOUNT, `the operation is not taken: ${IntentReason[answer.reason]}`, { reason: IntentReason[answer.reason] });
  }

  async hashOf(operation: UserOperation, entryPoint: BundledEntryPoint): Promise<Bytes32> {
    const delegate = operation.factory === EIP7702_FACTORY ? await this.options.node.delegateOf(operation.sender) : undefined;
    if (operation.factory === EIP7702_FACTORY && delegate === undefined) {
      throw new JsonRpcError(REJECTED_BY_ACCOUNT, 'AA20 account not deployed: the sender is not delegated (EIP-7702)', { reason: 'NOT_DELEGATED' });
    }
    return userOperationHash(operation, { entryPoint: entryPoint.address, version: entryPoint.version, chainId: eip155Number(this.options.chainId), ...(delegate === undefined ? {} : { eip7702Delegate: delegate }) });
  }

  /** I3 and I8: what is taken was screened and is paid for, both on record at the paymaster, for exactly these terms. */
  private async sponsorshipOf(operation: UserOperation, entryPoint: BundledEntryPoint, traceparent: string): Promise<RegisteredSponsorship> {
    if (operation.paymaster === undefined || operation.paymaster !== entryPoint.paymaster) {
      throw notSponsored('NOT_OUR_PAYMASTER', `this bundler takes operations that ${entryPoint.paymaster ?? 'its paymaster'} sponsors, and no others`);
    }
    const decoded = decodePaymasterData(operation.paymasterData);
    if (decoded === undefined) throw notSponsored('PAYMASTER_DATA_MALFORMED', 'paymasterData is not what pm_getPaymasterData answered');
    const sponsorship = await this.options.register.find(decoded.terms.sponsorshipKey, traceparent);
    if (sponsorship.state === 'settled') throw notSponsored('SPONSORSHIP_USED', 'this sponsorship has paid for an operation already');
    if (sponsorship.state === 'expired') throw notSponsored('SPONSORSHIP_EXPIRED', 'this sponsorship has run out');
    if (sponsorship.state !== 'issued' || sponsorship.paymasterData !== operation.paymasterData) throw notSponsored('SPONSORSHIP_UNKNOWN', 'the paymaster has not issued this paymasterData');
    if (sponsorship.chainId !== this.options.chainId || sponsorship.entryPoint !== entryPoint.address) throw notSponsored('SPONSORSHIP_ELSEWHERE', 'this sponsorship is for another chain or entry point');
    if (sponsorship.validUntil < nsToSeconds(this.options.clock.nowNs()) + VALIDITY_LEFT_MIN) {
      throw new JsonRpcError(OUT_OF_TIME, 'this sponsorship runs out before the operation could be mined', { reason: 'SPONSORSHIP_EXPIRES', validUntil: quantity(sponsorship.validUntil) });
    }
    return sponsorship;
  }

  private async examine(operation: UserOperation, entryPoint: BundledEntryPoint): Promise<void> {
    const { node } = this.options;
    const needed = (preVerificationGasOf(operation, entryPoint.address) * PRE_VERIFICATION_SHARE.atLeast) / PRE_VERIFICATION_SHARE.of;
    if (operation.preVerificationGas < needed) {
      throw new JsonRpcError(INVALID_PARAMS, `preVerificationGas must be at least ${quantity(needed)}`, { reason: 'PRE_VERIFICATION_GAS_TOO_LOW', needed: quantity(needed) });
    }
    const [baseFee, simulation] = await Promise.all([node.baseFee(), node.simulate(operation, entryPoint)]);
    if (operation.feePerGasWeiMax < baseFee) {
      throw new JsonRpcError(INVALID_PARAMS, `maxFeePerGas must be at least the base fee ${quantity(baseFee)}`, { reason: 'FEE_TOO_LOW', baseFee: quantity(baseFee) });
    }
    if (simulation.kind === 'refused') throw errorOfRefusal(simulation.reason, simulation.revertData);
    // The sponsor would pay for nothing.
    if (!simulation.succeeded) throw new JsonRpcError(EXECUTION_REVERTED, 'the operation reverts when it is executed', { reason: 'EXECUTION_REVERTED', revertData: simulation.revertData });
  }

  /**
   * One operation for an account's nonce. An accepted operation is on record and will be tried until it cannot be executed any
   * more, so another one for its nonce is refused until then: there is no replacing of what has been promised.
   */
  private async occupy(operation: UserOperation, entryPoint: BundledEntryPoint, hash: Bytes32): Promise<void> {
    const { slots, intents, chainId } = this.options;
    const slot = { chainId, entryPoint: entryPoint.address, sender: operation.sender, nonce: operation.nonce };
    const holder = await slots.take(slot, hash);
    if (holder === hash) return;
    const [status] = await intents([intentIdOf(holder)]);
    // Crash here, of whoever took the slot before its intent was accepted: then it holds nothing and may be handed on.
    const over = status?.state === IntentState.INTENT_STATE_FAILED || status?.state === IntentState.INTENT_STATE_UNKNOWN;
    if (over && (await slots.hand(slot, holder, hash)) === hash) return;
    throw new JsonRpcError(INVALID_PARAMS, `another operation of this sender holds nonce ${quantity(operation.nonce)}`, { reason: 'NONCE_TAKEN', userOpHash: holder });
  }
}

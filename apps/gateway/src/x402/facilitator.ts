import { OperationalError } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import type { TokenSymbol } from '@settlement/kernel/money';
import type { UnixSeconds } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { ExecutionFinder } from './execution-finder';
import { soughtOf, type ExecutionWatch, type Watched } from './execution-watch';
import type { PaymentTerms } from './payment-terms';
import { OWN_REASONS, SDK_REASONS } from './reasons';
import type { DirectAuthorization, Execution, X402PaymentAccepted } from './settlement.events';
import type { SettlementId } from './settlement-id';
import type { ReadSettlement, SettlementLog } from './settlement-log';
import type { SettlementPipeline } from './settlement-pipeline';
import { whatThisFacilitatorAddsTo, type Verdict, type Verifier } from './verifier';

export type Settlement =
  | { readonly kind: 'settled'; readonly transactionHash: string }
  | { readonly kind: 'refused'; readonly reason: string; readonly message?: string }
  /** Nobody knows yet. The hash is empty before the first transaction. */
  | { readonly kind: 'pending'; readonly transactionHash: string }
  /** Nothing was sent and nothing will be, unless it is asked for again. */
  | { readonly kind: 'unavailable'; readonly message: string };

export interface FacilitatorOptions {
  readonly log: SettlementLog;
  readonly verifier: Verifier;
  readonly finder: ExecutionFinder;
  readonly pipeline: SettlementPipeline;
  readonly watch: ExecutionWatch;
  readonly sponsorId: SponsorId;
  /** Until a caller hears that the outcome is open. Below the resource server's own timeout. */
  readonly settleTimeoutMs: number;
  readonly logger: Logger;
}

/** Before the relayer is asked again for an answer that did not come. */
const RELAYER_RETRY_MS = 500;

/** Verifies and settles payments for resource servers: each once, the same answer to the same payload for ever. */
export class Facilitator {
  private readonly running = new Map<string, Promise<Settlement>>();
  private readonly awaited = new Map<SettlementId, number>();

  constructor(private readonly options: FacilitatorOptions) {}

  /** Somebody is being answered about this settlement in this process. */
  isAwaited(settlementId: SettlementId): boolean {
    return this.awaited.has(settlementId);
  }

  /** Throws `OperationalError` when neither chain nor log can be asked. */
  async verify(terms: PaymentTerms): Promise<Verdict> {
    const { log, verifier } = this.options;
    const [verdict, { state }, taken] = await Promise.all([verifier.verify(terms), log.readOne(terms.settlementId), this.identifierTaken(terms)]);
    const known = state.status === 'none' || state.terms.payloadDigest !== terms.payloadDigest ? undefined : state;
    // A decision that stands for ever: the resource server need not do its work in vain.
    if (known?.status === 'refused' && verdict.valid) return { valid: false, reason: known.reason };
    if (taken) return { valid: false, reason: OWN_REASONS.identifierConflict, message: 'this payment identifier stands for another payment' };
    // Being charged, or charged and nobody was told yet: whoever brings the payload back is owed the answer, and settle will give
    // it, also when by now the nonce is used or the authorization has run out.
    const owed = known?.status === 'sponsored' || known?.status === 'submitted' || (known?.status === 'settled' && !known.answered);
    if (!verdict.valid && owed && requirementsMismatch(terms) === undefined) return { valid: true };
    return verdict;
  }

  /** Never throws for what a peer or the chain does; throws `OperationalError` when the log cannot be asked. */
  settle(terms: PaymentTerms, traceparent: string): Promise<Settlement> {
    // Of many copies at once one does the work. Copies that ask for something else are not copies.
    const key = `${terms.settlementId}/${terms.payloadDigest}/${terms.requirementsDigest}`;
    const running = this.running.get(key);
    if (running !== undefined) return running;
    const { settlementId } = terms;
    this.awaited.set(settlementId, (this.awaited.get(settlementId) ?? 0) + 1);
    const settling = this.settleOnce(terms, traceparent).finally(() => {
      this.running.delete(key);
      const others = (this.awaited.get(settlementId) ?? 1) - 1;
      if (others === 0) this.awaited.delete(settlementId);
      else this.awaited.set(settlementId, others);
    });
    this.running.set(key, settling);
    return settling;
  }

  private async settleOnce(terms: PaymentTerms, traceparent: string): Promise<Settlement> {
    const { log } = this.options;
    const endMs = log.clock.monotonicMs() + this.options.settleTimeoutMs;
    let read = await log.readOne(terms.settlementId);
    if (read.traceparent === '') read = { ...read, traceparent };
    const first = read.version;
    if (read.state.status === 'none' || read.state.status === 'withdrawn') {
      if (read.state.status === 'withdrawn' && read.state.terms.payloadDigest !== terms.payloadDigest) return { kind: 'refused', reason: usedReason(terms) };
      const accepted = await this.accept(terms, read);
      if ('kind' in accepted) return accepted;
      read = accepted;
    }
    if (read.state.status === 'none' || read.state.terms.payloadDigest !== terms.payloadDigest) {
      return { kind: 'refused', reason: usedReason(terms), message: 'another payload with this nonce was handed in before' };
    }
    // What was verified once is not verified again, but it pays for nothing else than what it says.
    const mismatch = requirementsMismatch(terms);
    if (mismatch !== undefined) return { kind: 'refused', reason: mismatch };
    const settlement = await this.drive(read, endMs);
    // An answer that only repeats what was found is durable only once a write of its own is.
    if ((settlement.kind === 'settled' || settlement.kind === 'refused') && first !== 0n) await log.confirm(terms.settlementId);
    return settlement;
  }

  private async accept(terms: PaymentTerms, read: ReadSettlement): Promise<ReadSettlement | Settlement> {
    const { log, verifier, finder } = this.options;
    let foreign: Execution | undefined;
    let verdict: Verdict;
    try {
      verdict = await verifier.verify(terms);
      // Used up before it came here: if that paid what is asked for, it is paid.
      if (!verdict.valid && (isUsed(verdict.reason) || verdict.reason === SDK_REASONS.permit2SimulationFailed)) foreign = await finder.find(soughtOf(acceptedTermsOf(terms, this.options.sponsorId)));
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      return { kind: 'unavailable', message: `the chain could not be asked (${error.code})` };
    }
    if (foreign !== undefined) verdict = whatThisFacilitatorAddsTo(terms);
    if (!verdict.valid) return { kind: 'refused', reason: verdict.reason, ...(verdict.message === undefined ? {} : { message: verdict.message }) };
    const accepted = await log.accept(read, { type: 'Accept', terms: { ...acceptedTermsOf(terms, this.options.sponsorId), foreign }, nowNs: log.clock.nowNs() });
    if (accepted === 'identifier-taken') return { kind: 'refused', reason: OWN_REASONS.identifierConflict, message: 'this payment identifier stands for another payment' };
    return accepted;
  }

  private async drive(from: ReadSettlement, endMs: number): Promise<Settlement> {
    const { log, pipeline, watch, logger } = this.options;
    let read = from;
    for (;;) {
      const { state, settlementId } = read;
      const leftMs = endMs - log.clock.monotonicMs();
      switch (state.status) {
        case 'accepted':
        case 'sponsored':
          try {
            read = await within(leftMs, pipeline.advance(settlementId));
          } catch (error) {
            if (!(error instanceof OperationalError)) throw error;
            logger.warn({ err: error, settlement: settlementId, status: state.status }, 'an x402 settlement could not go on');
            // Nothing has been sent for an accepted one: given up, unless somebody else has just taken it further.
            read = await log.decideOne(settlementId, (now) => (now.status === 'accepted' ? { type: 'Withdraw', code: error.code, nowNs: log.clock.nowNs() } : undefined));
            if (read.state.status === 'withdrawn') return { kind: 'unavailable', message: `a service that decides on payments did not answer (${error.code}); nothing was sent` };
            if (read.state.status === 'accepted' || read.state.status === 'sponsored') {
              if (endMs - log.clock.monotonicMs() <= RELAYER_RETRY_MS) return { kind: 'pending', transactionHash: '' };
              await log.clock.sleep(RELAYER_RETRY_MS);
            }
          }
          break;
        case 'submitted': {
          const watched: Watched = leftMs <= 0 ? { kind: 'timeout', transactionHash: '' } : await watch.watch({ ...read, state }, leftMs);
          if (watched.kind === 'timeout') return { kind: 'pending', transactionHash: watched.transactionHash || (await watch.hashOf({ ...read, state })) };
          read = watched.read;
          break;
        }
        case 'settled':
          if (!state.answered) await log.decideOne(settlementId, (now) => (now.status === 'settled' ? { type: 'RecordAnswer', nowNs: log.clock.nowNs() } : undefined));
          return { kind: 'settled', transactionHash: state.execution.transactionHash };
        case 'refused':
          return { kind: 'refused', reason: state.reason };
        case 'withdrawn':
        case 'none':
          return { kind: 'unavailable', message: 'the settlement was given up because a service was away; nothing was sent' };
      }
    }
  }

  private async identifierTaken({ identifier, payee, payloadDigest }: PaymentTerms): Promise<boolean> {
    if (identifier.kind !== 'given') return false;
    const claim = await this.options.log.claimOf(payee, identifier.digest);
    return claim !== undefined && claim.payloadDigest !== payloadDigest;
  }
}

const isUsed = (reason: string): boolean => reason === SDK_REASONS.nonceUsed || reason === SDK_REASONS.permit2Nonce;
const usedReason = ({ method }: PaymentTerms): string => (method === 'eip3009' ? SDK_REASONS.nonceUsed : SDK_REASONS.permit2Nonce);

/** Where the requirements ask for something else than what was signed. */
export function requirementsMismatch(terms: PaymentTerms): string | undefined {
  const { required, payee, amount, version } = terms;
  if (terms.method === 'eip3009') {
    if (payee !== required.payee) return SDK_REASONS.recipientMismatch;
    return amount === required.amount ? undefined : version === 1 ? SDK_REASONS.authorizationValue : SDK_REASONS.valueMismatch;
  }
  if (payee !== required.payee) return SDK_REASONS.permit2Recipient;
  if (amount !== required.amount) return SDK_REASONS.permit2Amount;
  return terms.permittedToken === terms.asset ? undefined : SDK_REASONS.permit2Token;
}

/** What is kept of a payment. The token is one of the configuration: nothing else passes verification. */
function acceptedTermsOf(terms: PaymentTerms, sponsorId: SponsorId): Omit<X402PaymentAccepted, 'type' | 'attempt' | 'acceptedAtNs'> {
  const { settlementId, version, network, chain, asset, payer, payee, amount, payloadDigest, requirementsDigest, identifier } = terms;
  const wrapped = terms.method === 'eip3009' ? terms.wrapped : undefined;
  const authorization: DirectAuthorization =
    terms.method === 'eip3009'
      ? { method: 'eip3009', validAfter: terms.validAfter as UnixSeconds, validBefore: terms.validBefore as UnixSeconds, nonce: terms.nonce, signature: wrapped?.inner ?? terms.signature }
      : { method: 'permit2', validAfter: terms.validAfter as UnixSeconds, deadline: terms.deadline as UnixSeconds, nonce: terms.nonce, signature: terms.signature };
  return {
    settlementId, version, network, payer, payee, authorization, payloadDigest, requirementsDigest, sponsorId,
    chainId: chain.chainId,
    amount: { token: (chain.tokens.get(asset)?.symbol ?? '') as TokenSymbol, amount },
    tokenAddress: asset,
    deployment: wrapped === undefined ? undefined : { factory: wrapped.factory, factoryData: wrapped.factoryData },
    identifierDigest: identifier.kind === 'given' ? identifier.digest : '',
    foreign: undefined,
  };
}

/** The work goes on when the caller stops waiting for it. */
async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          reject(new OperationalError('SETTLE_TIMEOUT', `not decided within ${Math.max(0, timeoutMs)} ms`, 'unknown'));
        }, Math.max(0, timeoutMs));
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

import { domainSeparator, authorizationDigest } from '@settlement/chain/eip3009';
import {
  decodeString, isValidSignatureCall, PERMIT2, permit2Digest, permit2SettleCall, READS, recoverAnyForm, transferWithAuthorizationCall, unwrapErc6492, X402_PERMIT2_PROXY,
} from '@settlement/chain/direct-payment';
import { fromHex } from '@settlement/chain/hex';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { Clock } from '@settlement/kernel/time';
import type { ChainQuery, ChainReading, PaymentChain } from '../ports/payment-chain';
import type { Eip3009Terms, PaymentTerms, Permit2Terms } from './payment-terms';
import { OWN_REASONS, PROTOCOL_REASONS, SDK_REASONS } from './reasons';

export type Verdict = { readonly valid: true } | { readonly valid: false; readonly reason: string; readonly message?: string };

/** ERC-1271: `isValidSignature` says yes with its own selector. */
const ERC1271_MAGIC = '0x1626ba7e';
/** An authorization that runs out sooner may do so before the next block; the SDK's figure. */
const VALIDITY_LEFT_SECONDS_MIN = 6n;
/**
 * An address without code may get some: a wallet is deployed, a key delegates (EIP-7702). Until this is over a key's signature is
 * believed although a contract would now decide; the simulation, which is never remembered, still asks the token itself. Long
 * enough for a resource server's verify and settle to share one look.
 */
const CODE_CACHE_MS = 15_000;
/** A token does not go away; the SDK's figure. That there is none is not remembered. */
const ASSET_CACHE_MS = 900_000;
const CACHED_MAX = 50_000;
/** As `Transfers` packs times. */
const SECONDS_MAX = 2n ** 40n - 1n;
/** As `Transfers` packs amounts. */
const AMOUNT_END = 2n ** 96n;

/** Says whether a payment could be executed now, with the SDK's reasons in the SDK's order. Reads the chain, changes nothing. */
export class Verifier {
  private readonly codes = new Map<string, { readonly hasCode: boolean; readonly untilMs: number }>();
  private readonly separators = new Map<string, Bytes32>();

  constructor(
    private readonly chains: ReadonlyMap<string, PaymentChain>,
    private readonly clock: Clock,
  ) {}

  /** Throws `OperationalError` when the chain cannot be asked. */
  async verify(terms: PaymentTerms): Promise<Verdict> {
    const verdict = terms.method === 'eip3009' ? await this.verifyEip3009(terms) : await this.verifyPermit2(terms);
    return verdict.valid ? whatThisFacilitatorAddsTo(terms) : verdict;
  }

  private async verifyEip3009(terms: Eip3009Terms): Promise<Verdict> {
    const { chain, payer, asset, wrapped } = terms;
    const digest = authorizationDigest('TransferWithAuthorization', this.separatorOf(terms), { ...terms, from: payer, to: terms.payee, value: terms.amount });
    const inner = wrapped?.inner ?? terms.signature;
    const byKey = recoverAnyForm(digest, fromHex(inner)) === payer;
    const terminal = this.eip3009Mismatch(terms);
    const simulation = simulationOf(terms);

    // What will pass asks for everything in one round trip; what will be refused before the simulation never asks for it.
    const early = byKey && terminal === undefined;
    const [payerHasCode, assetHasCode, earlyResult] = await Promise.all([
      this.hasCode(terms, payer, CODE_CACHE_MS),
      terminal === undefined && terms.version === 2 ? this.hasCode(terms, asset, ASSET_CACHE_MS) : true,
      early ? this.ask(terms, [simulation]) : undefined,
    ]);
    if (wrapped !== undefined && !payerHasCode) {
      if (!chain.walletFactories.has(wrapped.factory)) return no(SDK_REASONS.factoryNotAllowed);
    } else if (!(payerHasCode ? await this.walletAccepts(terms, digest, inner) : byKey)) {
      return no(SDK_REASONS.invalidSignature);
    }
    if (terminal !== undefined) return terminal;
    if (!assetHasCode) return no(SDK_REASONS.assetNotDeployed);
    const [result] = earlyResult ?? (await this.ask(terms, [simulation]));
    if (result?.ok === true) return { valid: true };
    return this.diagnoseEip3009(terms, result?.ok === false ? result.message : undefined);
  }

  /** Where the requirements and the clock say no, whatever the chain says. */
  private eip3009Mismatch(terms: Eip3009Terms): Verdict | undefined {
    const { required, payee, amount, validAfter, validBefore, version } = terms;
    if (required.payee === undefined) return no(PROTOCOL_REASONS.invalidRequirements, 'paymentRequirements.payTo is no address');
    if (payee !== required.payee) return no(SDK_REASONS.recipientMismatch);
    const now = this.nowSeconds();
    if (validBefore < now + VALIDITY_LEFT_SECONDS_MIN) return no(SDK_REASONS.validBefore);
    if (validAfter > now) return no(SDK_REASONS.validAfter);
    if (required.amount === undefined) return no(PROTOCOL_REASONS.invalidRequirements, 'the amount of paymentRequirements is no integer');
    if (amount !== required.amount) return no(version === 1 ? SDK_REASONS.authorizationValue : SDK_REASONS.valueMismatch);
    return undefined;
  }

  private async diagnoseEip3009(terms: Eip3009Terms, message: string | undefined): Promise<Verdict> {
    const { asset: to, payer, nonce } = terms;
    const [balance, name, version, used] = await this.ask(
      terms,
      [READS.balanceOf(payer), READS.name(), READS.version(), READS.authorizationState(payer, nonce)].map((data) => ({ kind: 'call', to, data })),
    );
    const state = wordOf(used);
    if (state === undefined) return no(SDK_REASONS.eip3009NotSupported);
    if (state !== 0n) return no(SDK_REASONS.nonceUsed);
    const text = (reading: ChainReading | undefined): string | undefined => (reading?.ok === true ? decodeString(reading.hex) : undefined);
    const [tokenName, tokenVersion] = [text(name), text(version)];
    if (tokenName !== undefined && tokenName !== terms.domainName) return no(SDK_REASONS.tokenNameMismatch);
    if (tokenVersion !== undefined && tokenVersion !== terms.domainVersion) return no(SDK_REASONS.tokenVersionMismatch);
    const held = wordOf(balance);
    if (held !== undefined && held < (terms.required.amount ?? 0n)) return no(SDK_REASONS.insufficientBalance);
    return no(SDK_REASONS.simulationFailed, message);
  }

  private async verifyPermit2(terms: Permit2Terms): Promise<Verdict> {
    const { chain, payer, asset } = terms;
    const proxy = chain.permit2Proxy ?? X402_PERMIT2_PROXY;
    const terminal = this.permit2Mismatch(terms, proxy);
    if (terminal !== undefined) return terminal;
    const digest = permit2Digest(chain.eip155, proxy, { ...terms, token: terms.permittedToken, owner: payer, to: terms.payee });
    const byKey = recoverAnyForm(digest, fromHex(terms.signature)) === payer;
    const simulation: ChainQuery = { kind: 'call', to: proxy, data: permit2SettleCall({ ...terms, token: terms.permittedToken, owner: payer, to: terms.payee }, innerOf(terms.signature)) };
    // A call to an address without code succeeds with nothing, so the proxy is asked whether it is there as well.
    const questions: readonly ChainQuery[] = [simulation, { kind: 'call', to: proxy, data: READS.permit2() }];
    const [payerHasCode, assetHasCode, early] = await Promise.all([
      this.hasCode(terms, payer, CODE_CACHE_MS),
      this.hasCode(terms, asset, ASSET_CACHE_MS),
      byKey ? this.ask(terms, questions) : undefined,
    ]);
    const signed = payerHasCode ? await this.walletAccepts(terms, digest, terms.signature) : byKey;
    if (!assetHasCode) return no(SDK_REASONS.assetNotDeployed);
    if (!signed) return no(SDK_REASONS.permit2Signature);
    const [result, proxysPermit2] = early ?? (await this.ask(terms, questions));
    if (wordOf(proxysPermit2) === undefined) return no(SDK_REASONS.permit2ProxyMissing);
    if (result?.ok === true) return { valid: true };
    const [balance, allowance] = await this.ask(terms, [
      { kind: 'call', to: asset, data: READS.balanceOf(payer) },
      { kind: 'call', to: asset, data: READS.allowance(payer, PERMIT2) },
    ]);
    if ((wordOf(balance) ?? terms.amount) < terms.amount) return no(SDK_REASONS.permit2Balance);
    if ((wordOf(allowance) ?? terms.amount) < terms.amount) return no(SDK_REASONS.permit2Allowance);
    return no(SDK_REASONS.permit2SimulationFailed, result?.ok === false ? result.message : undefined);
  }

  private permit2Mismatch(terms: Permit2Terms, proxy: EvmAddress): Verdict | undefined {
    const { required } = terms;
    if (terms.spender !== proxy) return no(SDK_REASONS.permit2Spender);
    if (required.payee === undefined) return no(PROTOCOL_REASONS.invalidRequirements, 'paymentRequirements.payTo is no address');
    if (terms.payee !== required.payee) return no(SDK_REASONS.permit2Recipient);
    const now = this.nowSeconds();
    if (terms.deadline < now + VALIDITY_LEFT_SECONDS_MIN) return no(SDK_REASONS.permit2Deadline);
    if (terms.validAfter > now) return no(SDK_REASONS.permit2NotYetValid);
    if (required.amount === undefined) return no(PROTOCOL_REASONS.invalidRequirements, 'the amount of paymentRequirements is no integer');
    if (terms.amount !== required.amount) return no(SDK_REASONS.permit2Amount);
    if (terms.permittedToken !== terms.asset) return no(SDK_REASONS.permit2Token);
    return undefined;
  }

  private async walletAccepts(terms: PaymentTerms, digest: Uint8Array, signature: HexBytes): Promise<boolean> {
    const [answer] = await this.ask(terms, [{ kind: 'call', to: terms.payer, data: isValidSignatureCall(digest, signature) }]);
    return answer?.ok === true && answer.hex.length >= 66 && answer.hex.startsWith(ERC1271_MAGIC);
  }

  private async hasCode(terms: PaymentTerms, address: EvmAddress, cacheMs: number): Promise<boolean> {
    const key = `${terms.chain.chainId}/${address}`;
    const nowMs = this.clock.monotonicMs();
    const cached = this.codes.get(key);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.hasCode;
    const [answer] = await this.ask(terms, [{ kind: 'code', address }]);
    const hasCode = answer?.ok === true && answer.hex.length > 2;
    if (hasCode || cacheMs === CODE_CACHE_MS) {
      if (this.codes.size >= CACHED_MAX) this.codes.clear();
      this.codes.set(key, { hasCode, untilMs: nowMs + cacheMs });
    }
    return hasCode;
  }

  private ask(terms: PaymentTerms, queries: readonly ChainQuery[]): Promise<readonly ChainReading[]> {
    const chain = this.chains.get(terms.chain.chainId);
    if (chain === undefined) throw new Error(`no chain for ${terms.chain.chainId}`);
    return chain.read(queries);
  }

  private separatorOf({ chain, asset, domainName, domainVersion }: Eip3009Terms): Bytes32 {
    const key = `${chain.chainId}\n${asset}\n${domainName}\n${domainVersion}`;
    const known = this.separators.get(key);
    if (known !== undefined) return known;
    const separator = domainSeparator({ name: domainName, version: domainVersion, chainId: chain.eip155, verifyingContract: asset });
    // Requests choose these: bounded, so that nobody fills the memory.
    if (this.separators.size >= 1_000) this.separators.clear();
    this.separators.set(key, separator);
    return separator;
  }

  private nowSeconds(): bigint {
    return BigInt(Math.floor(this.clock.nowMs() / 1_000));
  }
}

const no = (reason: string, message?: string): Verdict => ({ valid: false, reason, ...(message === undefined ? {} : { message: message.slice(0, 500) }) });

function innerOf(signature: HexBytes): HexBytes {
  try {
    return unwrapErc6492(signature)?.inner ?? signature;
  } catch (error) {
    if (error instanceof RangeError) return signature;
    throw error;
  }
}

/** A call's answer as one number; undefined when it is none. */
function wordOf(reading: ChainReading | undefined): bigint | undefined {
  return reading?.ok === true && reading.hex.length >= 66 ? BigInt(reading.hex.slice(0, 66)) : undefined;
}

/** The transfer as the token would execute it now; after the wallet's deployment where that comes first. */
function simulationOf(terms: Eip3009Terms): ChainQuery {
  const message = { ...terms, from: terms.payer, to: terms.payee, value: terms.amount };
  if (terms.wrapped === undefined) return { kind: 'call', to: terms.asset, data: transferWithAuthorizationCall(message, terms.signature) };
  const { factory, factoryData, inner } = terms.wrapped;
  return {
    kind: 'sequence',
    calls: [
      { to: factory, data: factoryData },
      { to: terms.asset, data: transferWithAuthorizationCall(message, inner) },
    ],
  };
}

/** What the SDK's facilitator would take and this one cannot execute. */
export function whatThisFacilitatorAddsTo(terms: PaymentTerms): Verdict {
  const { chain, asset, identifier } = terms;
  if (!chain.tokens.has(asset)) return no(OWN_REASONS.unsupportedAsset, 'this facilitator settles the tokens of its configuration only');
  if (terms.method === 'permit2' && chain.permit2Proxy === undefined) return no(OWN_REASONS.permit2NotOffered);
  const seconds = terms.method === 'eip3009' ? [terms.validAfter, terms.validBefore] : [terms.validAfter, terms.deadline];
  if (terms.amount >= AMOUNT_END) return no(OWN_REASONS.unsupportedAuthorization, 'expected an amount below 2^96');
  if (seconds.some((second) => second > SECONDS_MAX)) return no(OWN_REASONS.unsupportedAuthorization, `expected times of at most ${SECONDS_MAX} s`);
  if (identifier.kind === 'invalid') return no(OWN_REASONS.identifierInvalid, 'expected 16 to 128 letters, digits, - and _');
  return { valid: true };
}

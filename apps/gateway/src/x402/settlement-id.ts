import { createHash } from 'node:crypto';
import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import type { Brand } from '@settlement/kernel/brand';
import type { IntentId, PaymentId, ReservationId, ScreeningId } from '@settlement/kernel/ids';

export type SettlementId = Brand<string, 'SettlementId'>;

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
const PREFIX = 'x402_';

export function sha256Hex(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex');
}

function base32Of(digestHex: string): string {
  let rest = BigInt(`0x${digestHex.slice(0, 32)}`);
  let digits = '';
  for (let i = 0; i < 26; i += 1) {
    digits = (CROCKFORD[Number(rest & 31n)] ?? '') + digits;
    rest >>= 5n;
  }
  return digits;
}

/**
 * Named by what the chain executes at most once: a nonce of a payer at a contract, the token for EIP-3009 and Permit2 for its
 * permits. Whatever else a payload says, two that share this are one settlement.
 */
export function settlementIdOf(chainId: ChainId, contract: EvmAddress, payer: EvmAddress, nonce: string): SettlementId {
  return `${PREFIX}${base32Of(sha256Hex('x402', chainId, contract, payer, nonce))}` as SettlementId;
}

/** A settlement's id where another service names its subjects; undefined for the subjects of others. */
export function parseSettlementId(subject: string): SettlementId | undefined {
  return /^x402_[0-9a-hjkmnp-tv-z]{26}$/.test(subject) ? (subject as SettlementId) : undefined;
}

export const settlementStream = (id: SettlementId): string => `x402-${id.slice(PREFIX.length)}`;

/** An identifier is its client's own choice, so it counts for one payee only: two resource servers cannot block each other. */
export const identifierStream = (payee: EvmAddress, identifierDigest: string): string => `x402id-${sha256Hex(payee, identifierDigest).slice(0, 40)}`;

/**
 * Ids at the peers. Screening and reservation belong to an attempt, since a withdrawn one leaves decisions behind that must not
 * serve a later one. The intent's does not: whatever happens here, the relayer meets one settlement under one id (I2).
 */
export function settlementPeerIds(id: SettlementId, attempt: number): { readonly subjectId: PaymentId; readonly screeningId: ScreeningId; readonly reservationId: ReservationId; readonly intentId: IntentId } {
  const ofAttempt = base32Of(sha256Hex('x402 attempt', id, String(attempt)));
  return {
    // The peers' contracts call every subject of a payment by the same kind of id.
    subjectId: id as string as PaymentId,
    screeningId: `scr_${ofAttempt}` as ScreeningId,
    reservationId: `rsv_${ofAttempt}` as ReservationId,
    intentId: `int_${id.slice(PREFIX.length)}` as IntentId,
  };
}

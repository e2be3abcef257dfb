import type { ChainId } from '@settlement/kernel/address';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { UnixNs } from '@settlement/kernel/time';
import { describe, expect, it } from 'vitest';
import { sponsorCodec } from './sponsor.codec';
import { COMMAND_ITEMS_MAX } from './sponsor-group.policy';
import type { SponsorEvent } from './sponsor.events';

const sponsorId = 'acme' as SponsorId;
const wei = (amount: bigint): Wei => amount as Wei;
const item = { reservationId: 'rsv_1' as ReservationId, subjectId: 'pay_1', amount: wei(10n ** 18n) };

/**
 * Frozen: bytes as they stand in databases and topics. A change that breaks one of these breaks every stored event; add a new
 * schema version with its own line instead.
 */
const FROZEN: readonly { readonly event: SponsorEvent; readonly schemaVersion: number; readonly hex: string }[] = [
  { event: { type: 'SponsorBudgetSet', sponsorId, budget: wei(5n * 10n ** 18n), setAtNs: 1_700_000_000_000_000_001n as UnixNs }, schemaVersion: 1, hex: '0a0461636d65121335303030303030303030303030303030303030188180a8b1e39fe7cb17' },
  { event: { type: 'GasReserved', sponsorId, chainId: 'eip155:8453' as ChainId, items: [item, { ...item, reservationId: 'rsv_2' as ReservationId, amount: wei(0n) }], reservedAtNs: 1_700_000_000_000_000_002n as UnixNs }, schemaVersion: 1, hex: '0a0461636d65120b6569703135353a383435331a230a057273765f3112057061795f311a13313030303030303030303030303030303030301a110a057273765f3212057061795f311a0130208280a8b1e39fe7cb17' },
  { event: { type: 'GasReleased', sponsorId, items: [item], releasedAtNs: 1_700_000_000_000_000_003n as UnixNs }, schemaVersion: 1, hex: '0a0461636d6512230a057273765f3112057061795f311a1331303030303030303030303030303030303030188380a8b1e39fe7cb17' },
  { event: { type: 'GasCommitted', sponsorId, items: [{ reservationId: 'rsv_1' as ReservationId, reserved: wei(10n ** 18n), cost: wei(123n), transactionHash: `0x${'ab'.repeat(32)}` }], committedAtNs: 1_700_000_000_000_000_004n as UnixNs }, schemaVersion: 1, hex: '0a0461636d6512650a057273765f311213313030303030303030303030303030303030301a033132332242307861626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162188480a8b1e39fe7cb17' },
];

describe('events of the paymaster', () => {
  it.each(FROZEN)('$event.type keeps its bytes and is read back', ({ event, schemaVersion, hex }) => {
    expect(Buffer.from(sponsorCodec.encode(event).payload).toString('hex')).toBe(hex);
    expect(sponsorCodec.decode({ type: event.type, schemaVersion, payload: Buffer.from(hex, 'hex') })).toEqual(event);
  });

  it('has a frozen line for each type, at its current version', () => {
    expect(FROZEN.map(({ event }) => event.type).sort()).toEqual([...sponsorCodec.types].sort());
    for (const { event, schemaVersion } of FROZEN) expect(sponsorCodec.encode(event)).toMatchObject({ schemaVersion, subjectId: 'acme' });
  });

  it('keeps the largest event below the store\'s payload limit of 900 KiB', () => {
    const longest = wei(10n ** 77n - 1n);
    const id = (i: number): ReservationId => String(i).padStart(128, 'x') as ReservationId;
    const numbers = Array.from({ length: COMMAND_ITEMS_MAX }, (_, i) => i);
    const reserved: SponsorEvent = { type: 'GasReserved', sponsorId, chainId: 'eip155:8453' as ChainId, items: numbers.map((i) => ({ reservationId: id(i), subjectId: id(i), amount: longest })), reservedAtNs: 1n as UnixNs };
    const committed: SponsorEvent = { type: 'GasCommitted', sponsorId, items: numbers.map((i) => ({ reservationId: id(i), reserved: longest, cost: longest, transactionHash: `0x${'ab'.repeat(32)}` })), committedAtNs: 1n as UnixNs };
    for (const event of [reserved, committed]) expect(sponsorCodec.encode(event).payload.length).toBeLessThan(900 * 1024);
  });

  it('refuses a stored amount that is none', () => {
    // sponsor_id "a", budget_wei "-1"
    expect(() => sponsorCodec.decode({ type: 'SponsorBudgetSet', schemaVersion: 1, payload: Buffer.from('0a016112022d31', 'hex') })).toThrow(/UNKNOWN_EVENT/);
  });
});

import type { ScreeningId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { Role, ScreeningReason, Subject, Verdict } from '@settlement/proto/screening/v1/screening';
import { describe, expect, it } from 'vitest';
import type { ListEvent } from './list/list.events';
import { screeningCodec } from './screening.codec';
import type { ScreeningDecided } from './screening/screening.events';

/**
 * Frozen: bytes as they stand in databases and topics. A change that breaks one of these breaks every stored event; add a new
 * schema version with its own line instead.
 */
const FROZEN: readonly { readonly event: ListEvent | ScreeningDecided; readonly schemaVersion: number; readonly hex: string }[] = [
  {
    event: { type: 'ListVersionLoaded', listId: 'ofac-sdn', version: '2021-07-07', sha256: 'ab'.repeat(32), entries: 8_976n, loadedAtNs: 1_700_000_000_000_000_001n as UnixNs },
    schemaVersion: 1,
    hex: '0a086f6661632d73646e120a323032312d30372d30371a4061626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162209046288180a8b1e39fe7cb17',
  },
  {
    event: { type: 'ListVersionRefused', listId: 'ofac-sdn', sha256: 'cd'.repeat(32), reason: 'SHRUNK', detail: 'entries: 1 after 100', refusedAtNs: 1_700_000_000_000_000_002n as UnixNs },
    schemaVersion: 1,
    hex: '0a086f6661632d73646e12406364636463646364636463646364636463646364636463646364636463646364636463646364636463646364636463646364636463646364636463646364636418032214656e74726965733a203120616674657220313030288280a8b1e39fe7cb17',
  },
  {
    event: {
      type: 'ScreeningDecided', screeningId: 'scr_1' as ScreeningId, subject: Subject.SUBJECT_PAYOUT, subjectId: 'out_1', verdict: Verdict.VERDICT_REJECT,
      reason: ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS,
      matches: [{ role: Role.ROLE_PAYEE, listId: 'ofac-sdn', entryId: '29584', entryName: 'POTEKHIN, Danil', matchedOn: 'address', program: 'CYBER2' }],
      listVersions: ['ofac-sdn@2021-07-07#sha256:ab'], matcherVersion: 'exact-1', rulePackVersion: 'basic-1', partiesDigest: '01234567:ef', decidedAtNs: 1_700_000_000_000_000_003n as UnixNs,
    },
    schemaVersion: 1,
    hex: '0a057363725f3110021a056f75745f31200328023235080212086f6661632d73646e1a053239353834220f504f54454b48494e2c2044616e696c2a076164647265737332064359424552323a1d6f6661632d73646e40323032312d30372d3037237368613235363a6162420765786163742d314a0762617369632d31520b30313233343536373a6566588380a8b1e39fe7cb17',
  },
];

describe('events of compliance-screening', () => {
  it.each(FROZEN)('$event.type keeps its bytes and is read back', ({ event, schemaVersion, hex }) => {
    const encoded = screeningCodec.encode(event);
    expect(Buffer.from(encoded.payload).toString('hex')).toBe(hex);
    expect(screeningCodec.decode({ type: event.type, schemaVersion, payload: Buffer.from(hex, 'hex') })).toEqual(event);
  });

  it('has a frozen line for each type, at its current version', () => {
    expect(FROZEN.map(({ event }) => event.type).sort()).toEqual([...screeningCodec.types].sort());
    for (const { event, schemaVersion } of FROZEN) expect(screeningCodec.encode(event).schemaVersion).toBe(schemaVersion);
  });

  it('finds a list\'s events by list and a screening by what was screened', () => {
    expect(FROZEN.map(({ event }) => screeningCodec.encode(event).subjectId)).toEqual(['ofac-sdn', 'ofac-sdn', 'out_1']);
  });

  it('refuses a type and a version that it does not know', () => {
    expect(() => screeningCodec.decode({ type: 'ListVersionForgotten', schemaVersion: 1, payload: new Uint8Array() })).toThrow(/UNKNOWN_EVENT/);
    expect(() => screeningCodec.decode({ type: 'ScreeningDecided', schemaVersion: 2, payload: new Uint8Array() })).toThrow(/UNKNOWN_EVENT/);
  });
});

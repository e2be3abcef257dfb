import { QuarantineReason } from '@settlement/proto/relayer/v1/relayer';
import { describe, expect, it } from 'vitest';
import { decideQuarantine, type LaneObservation, type Quarantine } from './quarantine.policy';

const limits = { balanceWeiMin: 100n, failuresMax: 3, stuckMs: 60_000 };
const well: LaneObservation = { keyAddress: '0xkey', balanceWei: 100n, distrust: undefined, failuresInARow: 0, lastFailure: undefined, oldestInFlightMs: 0 };
const quarantine = (reason: QuarantineReason): Quarantine => ({ reason, detail: 'why' });
const { QUARANTINE_REASON_LOW_GAS, QUARANTINE_REASON_STUCK, QUARANTINE_REASON_FAILING_TRANSACTIONS, QUARANTINE_REASON_FOREIGN_TRANSACTION, QUARANTINE_REASON_NONCE_DISAGREES, QUARANTINE_REASON_OPERATOR } = QuarantineReason;

describe('the quarantine of a lane', () => {
  it('leaves a lane alone that is well', () => {
    expect(decideQuarantine(undefined, well, limits)).toEqual({ next: 'stay' });
  });

  it.each([
    ['low on gas', { balanceWei: 99n }, QUARANTINE_REASON_LOW_GAS],
    ['failing', { failuresInARow: 3, lastFailure: 'reverted' }, QUARANTINE_REASON_FAILING_TRANSACTIONS],
    ['stuck', { oldestInFlightMs: 60_000 }, QUARANTINE_REASON_STUCK],
    ['distrusted', { distrust: quarantine(QUARANTINE_REASON_FOREIGN_TRANSACTION) }, QUARANTINE_REASON_FOREIGN_TRANSACTION],
  ] as const)('begins for a lane that is %s', (_, seen, reason) => {
    expect(decideQuarantine(undefined, { ...well, ...seen }, limits)).toMatchObject({ next: 'begin', quarantine: { reason } });
  });

  it.each([[QUARANTINE_REASON_LOW_GAS], [QUARANTINE_REASON_STUCK], [QUARANTINE_REASON_NONCE_DISAGREES]])('ends by itself when its cause has passed: %s', (reason) => {
    expect(decideQuarantine(quarantine(reason), well, limits)).toMatchObject({ next: 'end' });
  });

  it.each([[QUARANTINE_REASON_FAILING_TRANSACTIONS], [QUARANTINE_REASON_FOREIGN_TRANSACTION], [QUARANTINE_REASON_OPERATOR]])('waits for a person, whatever else happens: %s', (reason) => {
    expect(decideQuarantine(quarantine(reason), well, limits)).toEqual({ next: 'stay' });
    expect(decideQuarantine(quarantine(reason), { ...well, balanceWei: 0n }, limits)).toEqual({ next: 'stay' });
  });

  it('gives way to a cause that needs a person', () => {
    const seen = { ...well, balanceWei: 0n, distrust: quarantine(QUARANTINE_REASON_FOREIGN_TRANSACTION) };
    expect(decideQuarantine(quarantine(QUARANTINE_REASON_LOW_GAS), seen, limits)).toMatchObject({ next: 'begin', quarantine: { reason: QUARANTINE_REASON_FOREIGN_TRANSACTION } });
    expect(decideQuarantine(quarantine(QUARANTINE_REASON_LOW_GAS), { ...well, balanceWei: 0n }, limits)).toEqual({ next: 'stay' });
  });
});

import { describe, expect, it } from 'vitest';
import { decideTopUp, type PastTopUp, type TopUpLimits } from './top-up.policy';

const MINUTE_NS = 60n * 1_000_000_000n;
const NOW = 1_000_000n * MINUTE_NS;
const limits: TopUpLimits = { amountWei: 10n, belowWei: 5n, perHourWei: 25n, perDayWei: 40n, reserveWei: 3n };
const poor = { address: '0xa', balanceWei: 4n };
const sent = (minutesAgo: bigint, open = false, to = '0xb'): PastTopUp => ({ to, amountWei: 10n, acceptedAtNs: NOW - minutesAgo * MINUTE_NS, open });

describe('gas money for a lane\'s key', () => {
  it('is sent to a key that holds too little', () => {
    expect(decideTopUp(poor, [], 100n, NOW, limits)).toEqual({ next: 'send', amountWei: 10n });
    expect(decideTopUp({ ...poor, balanceWei: 5n }, [], 100n, NOW, limits)).toEqual({ next: 'enough' });
  });

  it('is not sent twice: what is on record counts, executed or not', () => {
    expect(decideTopUp(poor, [sent(600n, true, '0xa')], 100n, NOW, limits)).toEqual({ next: 'on-its-way' });
  });

  it('stays within the limits of hour and day', () => {
    expect(decideTopUp(poor, [sent(1n), sent(59n)], 100n, NOW, limits)).toMatchObject({ next: 'limit', why: expect.stringContaining('TOP_UP_WEI_PER_HOUR') as string });
    expect(decideTopUp(poor, [sent(1n), sent(61n)], 100n, NOW, limits)).toMatchObject({ next: 'send' });
    expect(decideTopUp(poor, [sent(61n), sent(90n), sent(600n), sent(700n)], 100n, NOW, limits)).toMatchObject({ next: 'limit', why: expect.stringContaining('TOP_UP_WEI_PER_DAY') as string });
    expect(decideTopUp(poor, [sent(61n), sent(90n), sent(600n), sent(1_441n)], 100n, NOW, limits)).toMatchObject({ next: 'send' });
  });

  it('leaves the treasury\'s key its own gas', () => {
    expect(decideTopUp(poor, [], 12n, NOW, limits)).toMatchObject({ next: 'limit' });
    expect(decideTopUp(poor, [sent(1n, true)], 22n, NOW, limits)).toMatchObject({ next: 'limit' });
    expect(decideTopUp(poor, [sent(1n, true)], 23n, NOW, limits)).toMatchObject({ next: 'send' });
  });
});

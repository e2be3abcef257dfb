import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterTry } from './retry.policy';

const policy = { scheduleSeconds: [5, 300] };

describe('after a webhook try', () => {
  it.each([200, 204, 299])('%i is success', (status) => {
    expect(afterTry(status, 1, 0, policy)).toEqual({ next: 'none', status: 'succeeded', disableEndpoint: false });
  });

  it('410 ends it and switches the endpoint off', () => {
    expect(afterTry(410, 1, 0, policy)).toEqual({ next: 'none', status: 'exhausted', disableEndpoint: true });
  });

  it.each([0, 301, 400, 404, 500, 503])('%i is tried again along the schedule, then given up', (status) => {
    expect(afterTry(status, 1, 0, policy)).toEqual({ next: 'retry', pauseMs: 5_000 });
    expect(afterTry(status, 2, 0, policy)).toEqual({ next: 'retry', pauseMs: 300_000 });
    expect(afterTry(status, 3, 0, policy)).toEqual({ next: 'none', status: 'exhausted', disableEndpoint: false });
  });

  it('jitter adds up to a fifth and takes nothing away', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (jitter) => {
      const after = afterTry(500, 1, jitter, policy);
      expect(after.next === 'retry' && after.pauseMs >= 5_000 && after.pauseMs <= 6_000).toBe(true);
    }));
  });
});

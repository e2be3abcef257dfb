import { LaneState, QuarantineReason, type LaneStatus } from '@settlement/proto/relayer/v1/relayer';
import { expect, it } from 'vitest';
import { lanesTable } from './lanes-table';

const lane: LaneStatus = {
  chainId: 'eip155:1',
  keyAddress: '0x00000000000000000000000000000000000000aa',
  state: LaneState.LANE_STATE_ACTIVE,
  quarantineReason: 0,
  why: '',
  owner: 'relayer-0',
  fencingToken: 3n,
  leaseExpiresAtNs: 0n,
  nextNonce: 12n,
  chainNonce: 10n,
  inFlight: 2,
  oldestInFlightMs: 4_200n,
  balanceWei: '1234567890000000000',
  lastError: '',
  lastErrorAtNs: 0n,
};

it('shows nonce of log and chain, what is in flight and since when, balance and last error, one line a lane', () => {
  const text = lanesTable(
    [
      lane,
      { ...lane, state: LaneState.LANE_STATE_QUARANTINED, quarantineReason: QuarantineReason.QUARANTINE_REASON_LOW_GAS, why: 'fund it', balanceWei: '', inFlight: 0, lastError: 'RPC_TIMEOUT', lastErrorAtNs: 940_000_000_000n, owner: '' },
    ],
    1_000_000,
  );
  expect(text.split('\n')).toEqual([
    'chain     key                                         state                 owner      nonce log/chain  in flight  oldest  balance  last error',
    'eip155:1  0x00000000000000000000000000000000000000aa  active                relayer-0  12/10            2          4 s     1.2345   -',
    'eip155:1  0x00000000000000000000000000000000000000aa  quarantined: low gas  -          12/10            0          -       ?        RPC_TIMEOUT (60 s ago)',
    '    fund it',
  ]);
});

import { laneStateToJSON, quarantineReasonToJSON, LaneState, type LaneStatus } from '@settlement/proto/relayer/v1/relayer';

const COLUMNS = ['chain', 'key', 'state', 'owner', 'nonce log/chain', 'in flight', 'oldest', 'balance', 'last error'] as const;
/** An instance id or an error may be long; a terminal is not. */
const TEXT_MAX = 60;

/** One line a lane, and below it why it does not go on. */
export function lanesTable(lanes: readonly LaneStatus[], nowMs: number): string {
  const rows = lanes.map((lane) => cellsOf(lane, nowMs));
  const widths = COLUMNS.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd();
  const body = rows.map((row, index) => {
    const why = lanes[index]?.why ?? '';
    return why === '' ? line(row) : `${line(row)}\n    ${why}`;
  });
  return [line(COLUMNS), ...body].join('\n');
}

function cellsOf(lane: LaneStatus, nowMs: number): readonly string[] {
  return [
    lane.chainId,
    lane.keyAddress,
    stateOf(lane),
    lane.owner === '' ? '-' : short(lane.owner),
    `${lane.nextNonce}/${lane.chainNonce}`,
    String(lane.inFlight),
    lane.inFlight === 0 ? '-' : age(Number(lane.oldestInFlightMs)),
    lane.balanceWei === '' ? '?' : ether(BigInt(lane.balanceWei)),
    lane.lastError === '' ? '-' : `${short(lane.lastError)} (${age(nowMs - Number(lane.lastErrorAtNs / 1_000_000n))} ago)`,
  ];
}

function stateOf({ state, quarantineReason }: LaneStatus): string {
  const name = laneStateToJSON(state).replace('LANE_STATE_', '').toLowerCase();
  return state === LaneState.LANE_STATE_QUARANTINED ? `${name}: ${quarantineReasonToJSON(quarantineReason).replace('QUARANTINE_REASON_', '').toLowerCase().replaceAll('_', ' ')}` : name;
}

/** Rounded down to the fourth decimal: what is shown is there. */
function ether(wei: bigint): string {
  const tenThousandths = wei / 10n ** 14n;
  return `${tenThousandths / 10_000n}.${(tenThousandths % 10_000n).toString().padStart(4, '0')}`;
}

function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000));
  return s < 120 ? `${s} s` : s < 7_200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3_600)} h`;
}

function short(text: string): string {
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX - 1)}…`;
}

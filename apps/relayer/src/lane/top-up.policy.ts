/** Gas money that the treasury's key has sent or is about to send on one chain. */
export interface PastTopUp {
  readonly to: string;
  readonly amountWei: bigint;
  readonly acceptedAtNs: bigint;
  readonly open: boolean;
}

export interface TopUpLimits {
  readonly amountWei: bigint;
  /** A key that holds less is topped up. */
  readonly belowWei: bigint;
  readonly perHourWei: bigint;
  readonly perDayWei: bigint;
  /** What stays with the treasury's key, for its own gas. */
  readonly reserveWei: bigint;
}

export type TopUpDecision =
  | { readonly next: 'enough' }
  | { readonly next: 'on-its-way' }
  | { readonly next: 'send'; readonly amountWei: bigint }
  | { readonly next: 'limit'; readonly why: string };

const HOUR_NS = 3_600n * 1_000_000_000n;
export const DAY_NS = 24n * HOUR_NS;

/** Should this key get gas money now? Limits count what is on record, executed or not, so that a crash never doubles anything. */
export function decideTopUp(key: { readonly address: string; readonly balanceWei: bigint }, past: readonly PastTopUp[], treasuryWei: bigint, nowNs: bigint, limits: TopUpLimits): TopUpDecision {
  if (key.balanceWei >= limits.belowWei) return { next: 'enough' };
  if (past.some((it) => it.open && it.to === key.address)) return { next: 'on-its-way' };
  const { amountWei } = limits;
  const since = (ns: bigint): bigint => past.reduce((sum, it) => (it.acceptedAtNs > nowNs - ns ? sum + it.amountWei : sum), 0n);
  const [hour, day] = [since(HOUR_NS), since(DAY_NS)];
  if (hour + amountWei > limits.perHourWei) return { next: 'limit', why: `${hour} wei were sent within the hour: another ${amountWei} would be above TOP_UP_WEI_PER_HOUR (${limits.perHourWei})` };
  if (day + amountWei > limits.perDayWei) return { next: 'limit', why: `${day} wei were sent within the day: another ${amountWei} would be above TOP_UP_WEI_PER_DAY (${limits.perDayWei})` };
  const openWei = past.reduce((sum, it) => (it.open ? sum + it.amountWei : sum), 0n);
  if (treasuryWei < openWei + amountWei + limits.reserveWei) return { next: 'limit', why: `the treasury's key holds ${treasuryWei} wei: too little for another ${amountWei}` };
  return { next: 'send', amountWei };
}

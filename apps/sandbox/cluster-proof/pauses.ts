/** Longest time without an event in [fromMs, toMs], the edges counting as events. Milliseconds. */
export function longestPauseMs(timesMs: readonly number[], fromMs: number, toMs: number): number {
  const inside = timesMs.filter((time) => time >= fromMs && time <= toMs).sort((a, b) => a - b);
  let longest = 0;
  let last = fromMs;
  for (const time of [...inside, toMs]) {
    longest = Math.max(longest, time - last);
    last = time;
  }
  return longest;
}

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

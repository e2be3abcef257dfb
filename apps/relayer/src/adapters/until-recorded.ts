import { sqlState, StaleEpoch } from '@settlement/event-store/errors';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { FenceLost, LaneLost } from '../ports/lane-log';

export interface PatienceOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** A write is not done, or not known to be done, and is repeated under the same command id. */
  readonly repeating: (error: OperationalError) => void;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 3_000;

/**
 * Writes until it is known to be done. What a lane has decided must be on record before it goes on; an unknown outcome is
 * resolved by repeating the same command, which the store answers with the first result.
 */
export async function untilRecorded<T>({ clock, signal, repeating }: PatienceOptions, write: () => Promise<T>): Promise<T> {
  for (let delayMs = RETRY_MS_MIN; ; delayMs = Math.min(delayMs * 2, RETRY_MS_MAX)) {
    try {
      return await write();
    } catch (error) {
      if (error instanceof StaleEpoch) throw new LaneLost('this region has lost its epoch', { cause: error });
      const trouble = troubleOf(error);
      if (trouble === undefined || signal.aborted) throw error;
      repeating(trouble);
    }
    await clock.sleep(delayMs, signal);
  }
}

/**
 * What repeating may mend. A statement that fails because the server goes down (SQLSTATE classes 08, 53, 57, and 40 for a lost
 * race, 25P03 for a process that stood still too long) comes as the driver's own error and leaves nothing behind, since its transaction never reached COMMIT.
 */
function troubleOf(error: unknown): OperationalError | undefined {
  if (error instanceof OperationalError) return error;
  if (error instanceof InvariantViolated || error instanceof LaneLost || error instanceof FenceLost) return undefined;
  const state = sqlState(error);
  return state !== undefined && /^(?:08|40|53|57|25P03)/.test(state) ? new OperationalError('DATABASE_TROUBLE', 'the database ended the statement', 'not-done', { cause: error }) : undefined;
}

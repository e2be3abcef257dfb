import type { AppendResult, Append, EventStore, Transaction } from '@settlement/event-store/port';
import { sqlState, StaleEpoch } from '@settlement/event-store/errors';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';

/** This process may not go on with a lane: somebody else writes where only its owner may. Nothing but a restart helps. */
export class LaneLost extends Error {
  override readonly name = 'LaneLost';
}

export interface RecorderOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** A write is not done, or not known to be done, and is repeated under the same command id. */
  readonly repeating: (error: OperationalError) => void;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 3_000;

/**
 * Appends until it is known to be done. What a lane has decided must be on record before it goes on; an unknown outcome is
 * resolved by repeating the same command, which the store answers with the first result.
 */
export class Recorder {
  constructor(private readonly options: RecorderOptions) {}

  /** Throws `LaneLost` on a conflict or a lost epoch. Answers only when all stand. */
  async append(appends: readonly Append[]): Promise<readonly AppendResult[]> {
    return this.#insist(async () => refuseConflicts(await this.options.store.appendMany(appends)));
  }

  /** The same with effects in the transaction of the appends. */
  async transact<T>(partition: number, work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#insist(() => this.options.store.transact(partition, work));
  }

  async #insist<T>(write: () => Promise<T>): Promise<T> {
    const { clock, signal, repeating } = this.options;
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
}

/**
 * What repeating may mend. A statement that fails because the server goes down (SQLSTATE classes 08, 53, 57, and 40 for a lost
 * race) comes as the driver's own error and leaves nothing behind, since its transaction never reached COMMIT.
 */
function troubleOf(error: unknown): OperationalError | undefined {
  if (error instanceof OperationalError) return error;
  if (error instanceof InvariantViolated || error instanceof LaneLost) return undefined;
  const state = sqlState(error);
  return state !== undefined && /^(?:08|40|53|57)/.test(state) ? new OperationalError('DATABASE_TROUBLE', 'the database ended the statement', 'not-done', { cause: error }) : undefined;
}

export function refuseConflicts(results: readonly AppendResult[]): readonly AppendResult[] {
  for (const result of results) {
    if (result.outcome === 'conflict') {
      throw new LaneLost(`${result.streamId} stands at version ${result.actualVersion} where ${result.expectedVersion} was expected: another owner writes`);
    }
  }
  return results;
}

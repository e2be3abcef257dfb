import { InvariantViolated } from '@settlement/kernel/errors';
import type { AcceptedIntent } from '../intent/intent';

/**
 * The intents of one chain that wait for a transaction, in memory; a fold of the whole log, rebuilt at start. An intent is here
 * or taken (I2): it leaves when a lane of this process takes it or when any lane's plan is on record, and comes back when what
 * held it gives it back.
 */
export class IntentQueue {
  readonly #waiting = new Map<string, AcceptedIntent>();
  /** `here`: by a lane of this process, whose plan may not stand yet. `recorded`: a plan on record holds it. */
  readonly #taken = new Map<string, 'here' | 'recorded'>();
  readonly #listeners = new Set<() => void>();

  /** Ignores an intent that waits already, or that a transaction holds. */
  add(accepted: AcceptedIntent): void {
    const { intentId } = accepted.intent;
    if (this.#taken.has(intentId) || this.#waiting.has(intentId)) return;
    this.#waiting.set(intentId, accepted);
    for (const listener of this.#listeners) listener();
  }

  waiting(): readonly AcceptedIntent[] {
    return [...this.#waiting.values()];
  }

  get size(): number {
    return this.#waiting.size;
  }

  take(intents: readonly AcceptedIntent[]): void {
    for (const { intent } of intents) {
      if (!this.#waiting.delete(intent.intentId)) {
        throw new InvariantViolated('I2', 'an intent was to go into a second transaction', { intentId: intent.intentId });
      }
      this.#taken.set(intent.intentId, 'here');
    }
  }

  /** Taken here and not planned after all. Changes nothing for what a plan on record holds or what has ended since. */
  release(intents: readonly AcceptedIntent[]): void {
    this.putBack(intents.filter(({ intent }) => this.#taken.get(intent.intentId) === 'here'));
  }

  /** A plan on record holds them, of this process or another. */
  markTaken(intentIds: Iterable<string>): void {
    for (const intentId of intentIds) {
      this.#waiting.delete(intentId);
      this.#taken.set(intentId, 'recorded');
    }
  }

  putBack(intents: readonly AcceptedIntent[]): void {
    for (const accepted of intents) {
      this.#taken.delete(accepted.intent.intentId);
      this.add(accepted);
    }
  }

  /** Done for ever: expired, executed or failed. */
  settle(intentIds: Iterable<string>): void {
    for (const intentId of intentIds) {
      this.#waiting.delete(intentId);
      this.#taken.delete(intentId);
    }
  }

  onAdd(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

import { InvariantViolated } from '@settlement/kernel/errors';
import type { AcceptedIntent } from '../intent/intent';

/**
 * The intents of one chain that wait for a transaction, in memory; a fold of the own log, rebuilt at start. An intent is here
 * or in exactly one transaction (I2): it leaves when it is taken and comes back only by `putBack`.
 */
export class IntentQueue {
  readonly #waiting = new Map<string, AcceptedIntent>();
  readonly #taken = new Set<string>();
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
      this.#taken.add(intent.intentId);
    }
  }

  /** In a transaction already when this process started. */
  markTaken(intentIds: Iterable<string>): void {
    for (const intentId of intentIds) {
      this.#waiting.delete(intentId);
      this.#taken.add(intentId);
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

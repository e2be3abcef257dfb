import { OperationalError } from '@settlement/kernel/errors';
import type { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent } from '../intent/intent';
import type { CallRequest } from '../ports/chain-reader';
import type { LaneParts } from './lane-parts';
import { gasLimitOf, type Pack } from './pack.policy';

export interface Faulty {
  readonly accepted: AcceptedIntent;
  readonly reason: IntentReason;
}

export type PreFlightResult =
  | { readonly outcome: 'checked'; readonly good: readonly Pack[]; readonly faulty: readonly Faulty[] }
  /** The contract refuses everybody, and there is nothing else: all wait. */
  | { readonly outcome: 'vault-refuses'; readonly why: string };

type PreFlightParts = Pick<LaneParts, 'reader' | 'calls' | 'settings' | 'signer' | 'logger' | 'book' | 'clock'>;

/** A contract that refuses everybody is asked again after this. Milliseconds. */
const REFUSAL_MS = 1_000;
/** What may go through later is tried again after this, and given up when it was accepted so long ago. Milliseconds. */
const LATER_MS = 500;
const LATER_AGE_MS_MAX = 60_000;

/** The very call that a transaction of these intents makes. */
export function callOf({ signer, settings, calls }: Pick<LaneParts, 'signer' | 'settings' | 'calls'>, intents: readonly AcceptedIntent[], gas: bigint): CallRequest {
  const { to, data, valueWei } = calls.encode(intents.map((it) => it.intent.call), { epoch: settings.epoch, keyAddress: signer.address });
  return { from: signer.address, to, data, gas, ...(valueWei === 0n ? {} : { valueWei }) };
}

/**
 * Executes the very call data against the latest state. A transaction that would revert as a whole is not signed: when its
 * contract refuses everything, that kind waits; otherwise the items are tried alone and those at fault are given up.
 */
export class PreFlight {
  /** Until when a kind, or an intent, is not tried again. Monotonic milliseconds. */
  readonly #refusedUntilMs = new Map<string, number>();
  readonly #notBeforeMs = new Map<string, number>();

  constructor(private readonly parts: PreFlightParts) {}

  /** Without what was found to wait a moment ago: it must not take the place of what can go. */
  eligible(waiting: readonly AcceptedIntent[]): readonly AcceptedIntent[] {
    const nowMs = this.parts.clock.monotonicMs();
    for (const memory of [this.#refusedUntilMs, this.#notBeforeMs]) for (const [key, untilMs] of memory) if (untilMs <= nowMs) memory.delete(key);
    if (this.#refusedUntilMs.size === 0 && this.#notBeforeMs.size === 0) return waiting;
    return waiting.filter(({ intent }) => !this.#refusedUntilMs.has(intent.call.kind) && !this.#notBeforeMs.has(intent.intentId));
  }

  async check(packs: readonly Pack[]): Promise<PreFlightResult> {
    const { reader, calls, logger, book, clock } = this.parts;
    const answers = await reader.calls(packs.map((it) => callOf(this.parts, it.intents, it.gasLimit)));
    const good: Pack[] = [];
    const faulty: Faulty[] = [];
    let refused: string | undefined;
    for (const [index, it] of packs.entries()) {
      const answer = answers[index];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
      if (answer.ok) {
        good.push(it);
        continue;
      }
      const whole = calls.revertOf(it.intents.map((accepted) => accepted.intent.call), answer.data);
      if (whole.blame === 'contract') {
        logger.error({ lane: book.laneId, kind: it.kind, revert: whole.name, message: answer.message }, 'the contract refuses every call: intents wait');
        this.#refusedUntilMs.set(it.kind, clock.monotonicMs() + REFUSAL_MS);
        refused = `the contract refuses: ${whole.name}`;
        continue;
      }
      // Only a mined transaction can carry the fact that it was done before; it reverts, and the earlier one is found by its log.
      if (whole.blame === 'done' && it.intents.length === 1) good.push(it);
      else {
        const isolated = await this.#isolate(it);
        good.push(...isolated.good);
        faulty.push(...isolated.faulty);
      }
    }
    if (refused !== undefined && good.length === 0 && faulty.length === 0) return { outcome: 'vault-refuses', why: refused };
    return { outcome: 'checked', good, faulty };
  }

  async #isolate(whole: Pack): Promise<{ readonly good: readonly Pack[]; readonly faulty: readonly Faulty[] }> {
    const { reader, calls, settings, clock } = this.parts;
    const gasOf = (...intents: readonly AcceptedIntent[]): bigint => gasLimitOf(intents.map((it) => it.intent.call), settings.pack.gas);
    const alone = await reader.calls(whole.intents.map((accepted) => callOf(this.parts, [accepted], gasOf(accepted))));
    const faulty: Faulty[] = [];
    const sound: AcceptedIntent[] = [];
    const single: AcceptedIntent[] = [];
    for (const [index, accepted] of whole.intents.entries()) {
      const answer = alone[index];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
      if (answer.ok) {
        sound.push(accepted);
        continue;
      }
      const { blame, reason } = calls.revertOf([accepted.intent.call], answer.data);
      const ageMs = Number(clock.nowNs() - accepted.acceptedAtNs) / 1e6;
      if (blame === 'done') single.push(accepted);
      else if (blame === 'contract' || (blame === 'later' && ageMs < LATER_AGE_MS_MAX)) {
        this.#notBeforeMs.set(accepted.intent.intentId, clock.monotonicMs() + LATER_MS);
      } else faulty.push({ accepted, reason });
    }
    const packOf = (...intents: readonly AcceptedIntent[]): Pack => ({ ...whole, intents, gasLimit: gasOf(...intents) });
    const good = single.map((accepted) => packOf(accepted));
    // Each works alone and all fail together: then each goes alone.
    if (sound.length === whole.intents.length) return { faulty, good: sound.map((accepted) => packOf(accepted)) };
    return { faulty, good: sound.length === 0 ? good : [...good, packOf(...sound)] };
  }
}

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
  /** The vault refuses everybody: all wait. */
  | { readonly outcome: 'vault-refuses'; readonly why: string };

type PreFlightParts = Pick<LaneParts, 'reader' | 'vault' | 'settings' | 'signer' | 'logger' | 'book'>;

/** The very call that a transaction of these intents makes. */
export function callOf({ signer, settings, vault }: Pick<LaneParts, 'signer' | 'settings' | 'vault'>, intents: readonly AcceptedIntent[], gas: bigint): CallRequest {
  return { from: signer.address, to: settings.vaultAddress, data: vault.encode(intents.map((it) => it.intent.call), settings.epoch), gas };
}

/**
 * Executes the very call data against the latest state. A transaction that would revert as a whole is not signed: when the
 * vault refuses everything, all wait; otherwise the items are tried alone and those at fault are given up.
 */
export class PreFlight {
  constructor(private readonly parts: PreFlightParts) {}

  async check(packs: readonly Pack[]): Promise<PreFlightResult> {
    const { reader, vault, logger, book } = this.parts;
    const answers = await reader.calls(packs.map((it) => callOf(this.parts, it.intents, it.gasLimit)));
    const good: Pack[] = [];
    const faulty: Faulty[] = [];
    for (const [index, it] of packs.entries()) {
      const answer = answers[index];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
      if (answer.ok) {
        good.push(it);
        continue;
      }
      const whole = vault.revertOf(answer.data);
      if (whole.blame === 'vault') {
        logger.error({ lane: book.laneId, revert: whole.name, message: answer.message }, 'the vault refuses every call: intents wait');
        return { outcome: 'vault-refuses', why: `the vault refuses: ${whole.name}` };
      }
      // Only a mined transaction can carry the fact that it was done before; it reverts, and the earlier one is found by its log.
      if (whole.blame === 'done') good.push(it);
      else {
        const isolated = await this.#isolate(it);
        good.push(...isolated.good);
        faulty.push(...isolated.faulty);
      }
    }
    return { outcome: 'checked', good, faulty };
  }

  async #isolate(whole: Pack): Promise<{ readonly good: readonly Pack[]; readonly faulty: readonly Faulty[] }> {
    const { reader, vault, settings } = this.parts;
    const gasOf = (...intents: readonly AcceptedIntent[]): bigint => gasLimitOf(intents.map((it) => it.intent.call), settings.pack.gas);
    const alone = await reader.calls(whole.intents.map((accepted) => callOf(this.parts, [accepted], gasOf(accepted))));
    const faulty: Faulty[] = [];
    const sound: AcceptedIntent[] = [];
    for (const [index, accepted] of whole.intents.entries()) {
      const answer = alone[index];
      if (answer?.ok === false) faulty.push({ accepted, reason: vault.revertOf(answer.data).reason });
      else sound.push(accepted);
    }
    // Each works alone and all fail together: then each goes alone.
    if (faulty.length === 0) return { faulty, good: sound.map((accepted) => ({ ...whole, intents: [accepted], gasLimit: gasOf(accepted) })) };
    return { faulty, good: sound.length === 0 ? [] : [{ ...whole, intents: sound, gasLimit: gasOf(...sound) }] };
  }
}

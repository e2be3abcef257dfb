import { OperationalError } from '@settlement/kernel/errors';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { AcceptedIntent } from '../intent/intent';
import type { CallRequest, Simulation } from '../ports/chain-reader';
import { notAllowed } from './allow-list.policy';
import { isGasAnomaly } from './gas-anomaly.policy';
import type { LaneMemory, LaneParts } from './lane-parts';
import { gasLimitOf, type Pack } from './pack.policy';
import { Patience } from './patience';
import { judge } from './simulation.policy';

export interface Faulty {
  readonly accepted: AcceptedIntent;
  readonly reason: IntentReason;
  /** For a person, on record. */
  readonly detail?: string;
}

interface Refusal {
  readonly reason: IntentReason;
  readonly detail: string;
}

/** What a pack does on the latest state: nothing to object to, an objection, or a revert. */
type Outcome = { readonly outcome: 'fine' } | ({ readonly outcome: 'refused' } & Refusal) | { readonly outcome: 'reverts'; readonly data: string; readonly message: string };

export type PreFlightResult =
  | { readonly outcome: 'checked'; readonly good: readonly Pack[]; readonly faulty: readonly Faulty[] }
  /** The contract refuses everybody, and there is nothing else: all wait. */
  | { readonly outcome: 'vault-refuses'; readonly why: string };

type PreFlightParts = Pick<LaneParts, 'reader' | 'calls' | 'settings' | 'signer' | 'logger' | 'book' | 'clock'>;

/** A contract that refuses everybody is asked again after this. Milliseconds. */
const REFUSAL_MS = 1_000;
/** Delegate calls are looked at with the first transaction of a kind and token, and again after this: they change by upgrades. Milliseconds. */
const DELEGATES_MS = 300_000;

/** The very call that a transaction of these intents makes. */
export function callOf({ signer, settings, calls }: Pick<LaneParts, 'signer' | 'settings' | 'calls'>, intents: readonly AcceptedIntent[], gas: bigint): CallRequest {
  const { to, data, valueWei } = calls.encode(intents.map((it) => it.intent.call), { epoch: settings.epoch, keyAddress: signer.address });
  return { from: signer.address, to, data, gas, ...(valueWei === 0n ? {} : { valueWei }) };
}

/**
 * Executes the very call data on top of the latest block, as the next one. Only listed functions of listed contracts are
 * called; what the simulation shows must be what the intents stand for, else those at fault are given up unsigned, with
 * what was seen on record. A transaction that would revert as a whole is not signed: when its
 * contract refuses everything, that kind waits; otherwise the items are tried alone and those at fault are given up.
 */
export class PreFlight {
  /** Until when a kind, or an intent, is not tried again. Monotonic milliseconds. */
  readonly #refusedUntilMs = new Map<string, number>();
  readonly #patience = new Patience();

  /** When a kind and token were last looked at for delegate calls. Monotonic milliseconds. */
  readonly #tracedAtMs = new Map<string, number>();
  #saidBlind = false;

  constructor(
    private readonly parts: PreFlightParts,
    private readonly memory: Pick<LaneMemory, 'head'> = { head: undefined },
  ) {}

  /** Without what was found to wait a moment ago: it must not take the place of what can go. */
  eligible(waiting: readonly AcceptedIntent[]): readonly AcceptedIntent[] {
    const nowMs = this.parts.clock.monotonicMs();
    for (const [kind, untilMs] of this.#refusedUntilMs) if (untilMs <= nowMs) this.#refusedUntilMs.delete(kind);
    if (this.#patience.size > 0) this.#patience.keep(new Set(waiting.map(({ intent }) => intent.intentId)), nowMs);
    if (this.#refusedUntilMs.size === 0 && this.#patience.size === 0) return waiting;
    return waiting.filter(({ intent }) => !this.#refusedUntilMs.has(intent.call.kind) && !this.#patience.waits(intent.intentId, nowMs));
  }

  async check(packs: readonly Pack[]): Promise<PreFlightResult> {
    const { calls, logger, book, clock } = this.parts;
    const good: Pack[] = [];
    const faulty: Faulty[] = [];
    const listed: Pack[] = [];
    for (const it of packs) {
      const why = this.#unlisted(it);
      if (why === undefined) listed.push(it);
      else faulty.push(...it.intents.map((accepted) => ({ accepted, reason: IntentReason.INTENT_REASON_NOT_ALLOWED, detail: why })));
    }
    const answers = await this.#outcomes(listed);
    let refused: string | undefined;
    for (const [index, it] of listed.entries()) {
      const answer = answers[index];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
      if (answer.outcome === 'fine') {
        good.push(it);
        continue;
      }
      if (answer.outcome === 'refused') {
        const isolated = await this.#isolate(it, answer);
        good.push(...isolated.good);
        faulty.push(...isolated.faulty);
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
        const isolated = await this.#isolate(it, undefined);
        good.push(...isolated.good);
        faulty.push(...isolated.faulty);
      }
    }
    if (refused !== undefined && good.length === 0 && faulty.length === 0) return { outcome: 'vault-refuses', why: refused };
    return { outcome: 'checked', good, faulty };
  }

  /** `objection`: why the whole was refused; without one it reverted. */
  async #isolate(whole: Pack, objection: Refusal | undefined): Promise<{ readonly good: readonly Pack[]; readonly faulty: readonly Faulty[] }> {
    const { calls, settings, clock, logger, book } = this.parts;
    const gasOf = (...intents: readonly AcceptedIntent[]): bigint => gasLimitOf(intents.map((it) => it.intent.call), settings.pack.gas);
    const packOf = (...intents: readonly AcceptedIntent[]): Pack => ({ ...whole, intents, gasLimit: gasOf(...intents) });
    // Whatever is given up now is given up for good: a quorum of the endpoints must have seen it.
    const alone = await this.#outcomes(whole.intents.map((accepted) => packOf(accepted)), true, objection !== undefined);
    const faulty: Faulty[] = [];
    const sound: AcceptedIntent[] = [];
    const single: AcceptedIntent[] = [];
    for (const [index, accepted] of whole.intents.entries()) {
      const answer = alone[index];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
      if (answer.outcome === 'fine') {
        this.#patience.forget(accepted.intent.intentId);
        sound.push(accepted);
        continue;
      }
      if (answer.outcome === 'refused') {
        logger.error({ lane: book.laneId, intentId: accepted.intent.intentId, detail: answer.detail }, 'a simulation was refused: nothing is signed for this intent');
        faulty.push({ accepted, reason: answer.reason, detail: answer.detail });
        continue;
      }
      const { blame, reason, name } = calls.revertOf([accepted.intent.call], answer.data);
      const elsewhere = whole.kind === 'userOperation' ? await this.#executedBy(accepted) : undefined;
      if (blame === 'done') single.push(accepted);
      else if (elsewhere !== undefined) faulty.push({ accepted, reason: IntentReason.INTENT_REASON_DUPLICATE, detail: `executed by ${elsewhere}` });
      // A contract that refuses everybody is nobody's fault, however long it does.
      else if ((blame === 'later' || blame === 'contract') && (this.#patience.wait(accepted.intent.intentId, clock.monotonicMs()) || blame === 'contract')) continue;
      else faulty.push({ accepted, reason, detail: `reverts: ${name}` });
    }
    const good = single.map((accepted) => packOf(accepted));
    // Each works alone and all fail, or are refused, together: then each goes alone.
    if (sound.length === whole.intents.length) {
      if (objection !== undefined) logger.warn({ lane: book.laneId, detail: objection.detail }, 'a simulation was refused of the whole and of none alone: each goes alone');
      return { faulty, good: sound.map((accepted) => packOf(accepted)) };
    }
    return { faulty, good: sound.length === 0 ? good : [...good, packOf(...sound)] };
  }

  /** An operation that fails now may have had its turn: somebody else has bundled it. Nothing need be mined to know that. */
  async #executedBy({ intent }: AcceptedIntent): Promise<string | undefined> {
    const { calls, reader } = this.parts;
    const trace = calls.traceOf(intent.call);
    return trace === undefined ? undefined : (await reader.logs({ ...trace, fromBlock: 0n }))[0]?.transactionHash;
  }

  #unlisted({ kind, intents }: Pack): string | undefined {
    const { calls, settings, signer } = this.parts;
    if (settings.execution === undefined) return undefined;
    const call = calls.encode(intents.map((it) => it.intent.call), { epoch: settings.epoch, keyAddress: signer.address });
    return notAllowed(kind, call, settings.execution.allowList);
  }

  /** All in one round trip. A node that cannot simulate executes all the same; what would move is then not seen. */
  async #outcomes(packs: readonly Pack[], confirmed = false, traced = false): Promise<readonly Outcome[]> {
    if (packs.length === 0) return [];
    const { reader, logger, book } = this.parts;
    const requests = packs.map((it) => callOf(this.parts, it.intents, it.gasLimit));
    const delegateCalls = this.#isDelegatesDue(packs) || traced;
    const simulations = await reader.simulate?.(requests, { block: this.#nextBlock(), confirmed, delegateCalls });
    if (simulations !== undefined) return packs.map((it, i) => this.#judged(it, simulations[i]));
    if (!this.#saidBlind) logger.warn({ lane: book.laneId }, 'the node offers no eth_simulateV1: calls are executed by eth_call, and what they would move is not seen');
    this.#saidBlind = true;
    const answers = await reader.calls(requests);
    return packs.map((_, i): Outcome => {
      const answer = answers[i];
      if (answer === undefined) throw new OperationalError('RPC_MALFORMED', 'a call has no answer', 'not-done');
      return answer.ok ? { outcome: 'fine' } : { outcome: 'reverts', data: answer.data, message: answer.message };
    });
  }

  #judged({ intents }: Pack, simulation: Simulation | undefined): Outcome {
    if (simulation === undefined) throw new OperationalError('RPC_MALFORMED', 'a simulation has no answer', 'not-done');
    if (!simulation.ok) return { outcome: 'reverts', data: simulation.data, message: simulation.message };
    const { settings, signer } = this.parts;
    if (settings.execution === undefined) return { outcome: 'fine' };
    const calls = intents.map((it) => it.intent.call);
    const verdict = judge(calls, simulation, { contracts: settings.execution.contracts, keyAddress: signer.address });
    if (!verdict.ok) return { outcome: 'refused', reason: IntentReason.INTENT_REASON_SIMULATION_REFUSED, detail: verdict.detail };
    if (!isGasAnomaly(calls, simulation.gasUsed, settings.pack.gas)) return { outcome: 'fine' };
    return { outcome: 'refused', reason: IntentReason.INTENT_REASON_GAS_ANOMALY, detail: `uses ${simulation.gasUsed} gas, far more than ${calls.length} of its kind need` };
  }

  #nextBlock(): { readonly number: bigint; readonly timestampS: bigint } | undefined {
    const { head } = this.memory;
    const { execution } = this.parts.settings;
    if (head === undefined || execution === undefined) return undefined;
    return { number: head.number + 1n, timestampS: head.timestampS + BigInt(Math.max(1, Math.ceil(execution.blockTimeMs / 1_000))) };
  }

  #isDelegatesDue(packs: readonly Pack[]): boolean {
    const nowMs = this.parts.clock.monotonicMs();
    const due = packs.map(({ kind, intents: [first] }) => `${kind} ${first !== undefined && 'token' in first.intent.call ? first.intent.call.token : ''}`).filter((key) => nowMs - (this.#tracedAtMs.get(key) ?? -DELEGATES_MS) >= DELEGATES_MS);
    for (const key of due) this.#tracedAtMs.set(key, nowMs);
    return due.length > 0;
  }
}

import type { HexBytes } from '@settlement/kernel/address';
import { Transaction } from 'ethers';
import type { BroadcastOutcome } from '../../ports/broadcaster';
import { classify, mergeOutcomes } from './answer-classification.policy';
import type { Endpoint } from './endpoint';
import { failureOf } from './json-rpc-chain';

interface Targets {
  readonly public: readonly Endpoint[];
  readonly private: readonly Endpoint[];
  /** Of the last agreed head; unknown before the first. */
  readonly height: bigint | undefined;
}

/** Nonces of a lane that are remembered; far above what is in flight. */
const REMEMBERED_MAX = 10_000;

/**
 * Sends to all endpoints at once and answers as soon as one has each transaction. With private endpoints, a nonce's
 * transactions go to those only, until so many blocks have passed since the first: what is not included privately must
 * still be included. After a restart the count begins anew, which delays and reveals nothing.
 */
export class BroadcastRoute {
  readonly #privateBlocks: bigint;
  readonly #firstSentAt = new Map<string, bigint>();

  constructor(privateBlocks: bigint) {
    this.#privateBlocks = privateBlocks;
  }

  async send(raws: readonly HexBytes[], targets: Targets): Promise<readonly BroadcastOutcome[]> {
    const secret = raws.map((raw) => targets.private.length > 0 && this.#isSecret(raw, targets.height));
    const outcomes = raws.map((): BroadcastOutcome[] => []);
    const legs = [
      ...takers(targets.private).map((endpoint) => ({ endpoint, items: raws.map((_, i) => i) })),
      ...takers(targets.public).map((endpoint) => ({ endpoint, items: raws.flatMap((_, i) => (secret[i] === true ? [] : [i])) })),
    ].filter(({ items }) => items.length > 0);
    await new Promise<void>((resolve) => {
      let open = legs.length;
      if (open === 0) resolve();
      for (const { endpoint, items } of legs) {
        void handOver(endpoint, items.map((i) => raws[i] ?? ('0x' as HexBytes))).then((answers) => {
          for (const [at, i] of items.entries()) outcomes[i]?.push(answers[at] ?? { outcome: 'unknown', why: 'no answer' });
          open -= 1;
          // The rest go on: a node that is late still gets the bytes.
          if (open === 0 || outcomes.every((it) => it.some(({ outcome }) => outcome === 'accepted' || outcome === 'already-known'))) resolve();
        });
      }
    });
    return outcomes.map((it) => mergeOutcomes(it));
  }

  #isSecret(raw: HexBytes, height: bigint | undefined): boolean {
    const { from, nonce } = Transaction.from(raw);
    const key = `${from ?? ''} ${nonce}`;
    const first = this.#firstSentAt.get(key);
    if (first === undefined) {
      for (const oldest of this.#firstSentAt.keys()) {
        if (this.#firstSentAt.size < REMEMBERED_MAX) break;
        this.#firstSentAt.delete(oldest);
      }
      // Before any head is known the clock has not begun to run.
      if (height !== undefined) this.#firstSentAt.set(key, height);
      return true;
    }
    return (height ?? first) - first < this.#privateBlocks;
  }
}

/** A laggard or a liar still has peers; who is on another chain, wants to be left alone or is down does not help. */
function takers(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const willing = endpoints.filter(({ breaker }) => breaker.state === 'closed' || breaker.reason === 'lagging' || breaker.reason === 'lying');
  return willing.length > 0 ? willing : endpoints.filter(({ breaker }) => breaker.state === 'closed' || breaker.reason !== 'wrong-chain');
}

/** The chain turns failures into outcomes; the breaker is told by asking in its way. */
async function handOver(endpoint: Endpoint, raws: readonly HexBytes[]): Promise<readonly BroadcastOutcome[]> {
  try {
    return await endpoint.ask((chain) => chain.handOver(raws));
  } catch (error) {
    const outcome = classify(failureOf(error));
    return raws.map(() => outcome);
  }
}

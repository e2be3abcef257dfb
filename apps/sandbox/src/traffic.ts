import { systemClock } from '@settlement/config/system-ports';
import type { TokenDomain } from '@settlement/chain/eip3009';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { ApiClient, type ApiAnswer } from './api-client';
import type { Endpoints } from './endpoints';
import { authorize, payerOf, type AuthorizationBody, type Payer } from './payer';
import type { Scenario, Submission } from './scenario';
import { SeededRandom } from './seeded-random';

export interface MerchantAccount {
  readonly id: string;
  readonly apiKey: string;
  readonly payoutAddress: EvmAddress;
}

export interface SubmissionResult {
  readonly submission: Submission;
  readonly outcome: 'accepted' | 'replayed' | 'refused';
  /** Refusal code, empty otherwise. */
  readonly code: string;
  readonly paymentId: string;
  readonly status: number;
}

export interface TrafficTarget {
  readonly api: string | Endpoints;
  readonly chainId: string;
  readonly vault: EvmAddress;
  readonly domain: TokenDomain;
  /** Sets this run's authorizations apart from an earlier run's on the same chain; none on a chain of its own. */
  readonly run?: string;
}

/** Who pays in this scenario; the odd ones are wallets of their own. */
export function payersOf(scenario: Scenario, seed: number) {
  return {
    ordinary: Array.from({ length: scenario.payers }, (_, index) => payerOf(seed, `ordinary/${index}`)),
    sanctioned: payerOf(seed, 'sanctioned'),
    penniless: payerOf(seed, 'penniless'),
  };
}

const hour = 3_600n;

/** Signs and sends the scenario's submissions as merchants' servers would, `concurrency` at a time. */
export class Traffic {
  private readonly clients: readonly ApiClient[];
  private readonly payers: ReturnType<typeof payersOf>;
  private readonly originals = new Map<number, Promise<SubmissionResult>>();
  private readonly bodies = new Map<number, unknown>();
  readonly results: SubmissionResult[] = [];

  constructor(
    private readonly target: TrafficTarget,
    private readonly scenario: Scenario,
    private readonly seed: number,
    merchants: readonly MerchantAccount[],
  ) {
    this.clients = merchants.map((merchant) => new ApiClient(target.api, merchant.apiKey));
    this.payers = payersOf(scenario, seed);
  }

  /** `beforeEach` is told how many were taken on so far; it may kill something. */
  async run(concurrency: number, beforeEach: (started: number) => void): Promise<void> {
    const queue = [...this.scenario.submissions];
    let started = 0;
    const worker = async (): Promise<void> => {
      for (let submission = queue.shift(); submission !== undefined; submission = queue.shift()) {
        beforeEach(started);
        started += 1;
        const result = this.submit(submission);
        this.originals.set(submission.index, result);
        this.results.push(await result);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, worker));
  }

  private async submit(submission: Submission): Promise<SubmissionResult> {
    const client = this.clients[submission.merchant];
    if (client === undefined) throw new Error(`no merchant ${submission.merchant}`);
    const original = submission.repeats ?? submission.index;
    const key = `${submission.reference}-create`;
    if (submission.repeats !== undefined) {
      // The same bytes under the same key, once the first has been answered: a merchant whose own server lost the answer.
      await this.originals.get(submission.repeats);
      const answer = await client.submit('POST', '/v1/payments', this.bodies.get(original), key);
      return this.resultOf(submission, answer);
    }
    const base = { amount: submission.amountMinor.toString(), token: 'USDC', chain: this.target.chainId, reference: submission.reference };
    if (submission.twoStep) return this.submitInTwoSteps(submission, client, base, key);
    const body = { ...base, authorization: this.sign(submission) };
    this.bodies.set(submission.index, body);
    return this.resultOf(submission, await client.submit('POST', '/v1/payments', body, key));
  }

  private async submitInTwoSteps(submission: Submission, client: ApiClient, base: object, key: string): Promise<SubmissionResult> {
    const payer = this.payerFor(submission);
    const body = { ...base, payer: payer.address };
    this.bodies.set(submission.index, body);
    const created = await client.submit('POST', '/v1/payments', body, key);
    const result = this.resultOf(submission, created);
    if (result.outcome === 'refused') return result;
    const { message } = created.body['typedData'] as { message: Record<string, string> };
    const authorization = authorize(payer, this.target.domain, {
      from: payer.address,
      to: this.target.vault,
      value: submission.amountMinor as TokenUnits,
      validAfter: BigInt(message['validAfter'] ?? '0'),
      validBefore: BigInt(message['validBefore'] ?? '0'),
      nonce: message['nonce'] as Bytes32,
    });
    return this.resultOf(submission, await client.submit('POST', `/v1/payments/${result.paymentId}/authorization`, authorization, `${submission.reference}-authorize`));
  }

  private payerFor(submission: Submission): Payer {
    if (submission.oddity === 'sanctioned-payer') return this.payers.sanctioned;
    if (submission.oddity === 'no-funds') return this.payers.penniless;
    const payer = this.payers.ordinary[submission.payer];
    if (payer === undefined) throw new Error(`no payer ${submission.payer}`);
    return payer;
  }

  private sign(submission: Submission): AuthorizationBody {
    const nowSeconds = BigInt(Math.floor(systemClock.nowMs() / 1_000));
    const payer = this.payerFor(submission);
    const nonce = `0x${Buffer.from(new SeededRandom(this.seed, `nonce/${this.target.run === undefined ? '' : `${this.target.run}/`}${submission.index}`).bytes(32)).toString('hex')}` as Bytes32;
    const message = {
      from: payer.address,
      to: this.target.vault,
      value: submission.amountMinor as TokenUnits,
      validAfter: 0n,
      validBefore: submission.oddity === 'expired' ? nowSeconds - hour : nowSeconds + hour,
      nonce,
    };
    // Forged: another wallet's signature under this payer's name.
    const signer = submission.oddity === 'forged-signature' ? this.payers.penniless : payer;
    return authorize(signer, this.target.domain, message);
  }

  private resultOf(submission: Submission, answer: ApiAnswer): SubmissionResult {
    const ok = answer.status >= 200 && answer.status < 300;
    return {
      submission,
      outcome: !ok ? 'refused' : submission.oddity === 'duplicate' && answer.replayed ? 'replayed' : 'accepted',
      code: ok ? '' : String(answer.body['code'] ?? `HTTP_${answer.status}`),
      paymentId: typeof answer.body['id'] === 'string' ? answer.body['id'] : '',
      status: answer.status,
    };
  }
}

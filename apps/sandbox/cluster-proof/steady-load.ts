import { randomBytes } from 'node:crypto';
import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { ApiClient, type ApiAnswer } from '../src/api-client';
import type { DemoTarget } from '../src/demo-target';
import { registerMerchants } from '../src/merchants';
import { authorize, payerOf, type Payer } from '../src/payer';
import type { MerchantAccount } from '../src/traffic';

export interface LoadOptions {
  /** Requests a second, whether or not earlier ones have been answered: a slow system does not slow its callers down. */
  readonly perSecond: number;
  /** Names merchants, references and keys; another one for each load on one system. */
  readonly label: string;
  readonly merchants?: number;
}

/** One request as its sender saw it, without any retry. */
export interface SentRequest {
  readonly what: 'payment' | 'read';
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Undefined when no HTTP answer came. */
  readonly status: number | undefined;
  /** Why it does not count as answered; empty when it does. */
  readonly failure: string;
}

export interface LoadPayment {
  readonly merchant: number;
  readonly amountMinor: bigint;
  readonly nonce: Bytes32;
  readonly body: unknown;
  readonly key: string;
  /** Once an answer said so; until then nobody knows whether the payment was accepted. */
  paymentId: string | undefined;
  acceptedAtMs: number | undefined;
}

const PAYERS = 20;
const AUTHORIZATION_SECONDS = 3_600n;
/** Every fifth request asks how an earlier payment is doing. */
const READ_EVERY = 5;

/**
 * Steady traffic of ordinary payments, each request sent once to one of the addresses. What failed is counted as failed, and
 * only afterwards repeated under the same key, as a merchant does: whether it was accepted the first time must make no difference.
 */
export class SteadyLoad {
  readonly requests: SentRequest[] = [];
  readonly payments: LoadPayment[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private sent = 0;

  private constructor(
    private readonly target: DemoTarget,
    private readonly options: LoadOptions,
    readonly merchants: readonly MerchantAccount[],
    private readonly payers: readonly Payer[],
    private readonly clients: readonly ApiClient[],
  ) {}

  /** Registers merchants and funds payers; sends nothing yet. */
  static async prepare(target: DemoTarget, options: LoadOptions): Promise<SteadyLoad> {
    const label = `proof-${target.run ?? ''}-${options.label}`;
    const merchants = await registerMerchants(target.api, target.adminToken, target.chainId, options.merchants ?? 4, 1, label);
    const payers = Array.from({ length: PAYERS }, (_, index) => payerOf(1, `proof/${index}`));
    await target.deployment.mintMany(payers.map((payer) => ({ to: payer.address, units: 1_000_000_000_000n })));
    return new SteadyLoad(target, options, merchants, payers, merchants.map((merchant) => new ApiClient(target.api, merchant.apiKey)));
  }

  start(): void {
    this.setRate(this.options.perSecond);
  }

  /** From now on so many requests a second, and so many more that only read: those keep the gateway busy and nobody behind it but its database. */
  setRate(perSecond: number, readsPerSecond = 0): void {
    this.endTimers();
    this.every(1_000 / perSecond, () => this.sendOne());
    if (readsPerSecond > 0) this.every(1_000 / readsPerSecond, () => this.readOne());
  }

  private every(intervalMs: number, send: () => void): void {
    const startedAtMs = systemClock.monotonicMs();
    let due = 0;
    const timer = setInterval(() => {
      // By the clock and not by the timer's calls: a busy machine delays those.
      for (; due * intervalMs <= systemClock.monotonicMs() - startedAtMs; due += 1) send();
    }, Math.max(5, intervalMs / 2));
    this.timers.add(timer);
  }

  private endTimers(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.timers.clear();
  }

  /** No more requests; resolves when all have ended one way or the other. */
  async stop(): Promise<void> {
    this.endTimers();
    await Promise.all(this.inFlight);
  }

  /** A number of payments, `concurrency` at a time, instead of a rate. */
  async burst(count: number, concurrency: number): Promise<void> {
    let left = count;
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (left > 0) {
          left -= 1;
          await this.pay();
        }
      }),
    );
  }

  get failures(): readonly SentRequest[] {
    return this.requests.filter((request) => request.failure !== '');
  }

  /** Repeats every payment whose answer is missing, under its own key, until there is one. */
  async resolve(): Promise<void> {
    for (const payment of this.payments.filter(({ paymentId }) => paymentId === undefined)) {
      const answer = await this.client(payment.merchant).submit('POST', '/v1/payments', payment.body, payment.key);
      this.note(payment, answer);
      if (payment.paymentId === undefined) throw new Error(`a payment was refused: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
  }

  private sendOne(): void {
    this.sent += 1;
    if (this.sent % READ_EVERY !== 0 || !this.readOne()) this.follow(this.pay());
  }

  /** False when there is no payment yet. */
  private readOne(): boolean {
    const known = this.payments.findLast(({ paymentId }) => paymentId !== undefined);
    if (known !== undefined) this.follow(this.read(known));
    return known !== undefined;
  }

  private follow(work: Promise<void>): void {
    this.inFlight.add(work);
    void work.finally(() => this.inFlight.delete(work));
  }

  private async pay(): Promise<void> {
    const index = this.payments.length;
    const merchant = index % this.merchants.length;
    const payer = this.payers[index % this.payers.length];
    if (payer === undefined) throw new Error('nobody pays');
    const amountMinor = BigInt(500_000 + (index % 997) * 1_009);
    const nonce = `0x${randomBytes(32).toString('hex')}` as Bytes32;
    const nowSeconds = BigInt(Math.floor(systemClock.nowMs() / 1_000));
    const message = { from: payer.address, to: this.target.deployment.vault, value: amountMinor as TokenUnits, validAfter: 0n, validBefore: nowSeconds + AUTHORIZATION_SECONDS, nonce };
    const key = `${this.options.label}-${this.target.run ?? ''}-${index}`;
    const payment: LoadPayment = {
      merchant,
      amountMinor,
      nonce,
      body: { amount: amountMinor.toString(), token: 'USDC', chain: this.target.chainId, reference: key, authorization: authorize(payer, this.target.deployment.usdcDomain, message) },
      key,
      paymentId: undefined,
      acceptedAtMs: undefined,
    };
    this.payments.push(payment);
    await this.timed('payment', async () => {
      const answer = await this.client(merchant).request('POST', '/v1/payments', { body: payment.body, idempotencyKey: key });
      this.note(payment, answer);
      return answer;
    });
  }

  private async read(payment: LoadPayment): Promise<void> {
    await this.timed('read', () => this.client(payment.merchant).request('GET', `/v1/payments/${payment.paymentId ?? ''}`));
  }

  private async timed(what: SentRequest['what'], work: () => Promise<ApiAnswer>): Promise<void> {
    const startedAtMs = systemClock.nowMs();
    const ended = (status: number | undefined, failure: string): void => {
      this.requests.push({ what, startedAtMs, endedAtMs: systemClock.nowMs(), status, failure });
    };
    try {
      const { status, body } = await work();
      ended(status, status >= 200 && status < 300 ? '' : `HTTP ${status} ${String(body['code'] ?? '')}`.trim());
    } catch (error) {
      ended(undefined, reasonOf(error));
    }
  }

  private note(payment: LoadPayment, answer: ApiAnswer): void {
    if (answer.status < 200 || answer.status >= 300 || typeof answer.body['id'] !== 'string') return;
    payment.paymentId = answer.body['id'];
    payment.acceptedAtMs = systemClock.nowMs();
  }

  private client(merchant: number): ApiClient {
    const client = this.clients[merchant];
    if (client === undefined) throw new Error(`no merchant ${merchant}`);
    return client;
  }

  payoutAddresses(): readonly EvmAddress[] {
    return this.merchants.map((merchant) => merchant.payoutAddress);
  }
}

/** What undici hides in the cause: ECONNRESET, ECONNREFUSED, a time-out. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause;
  if (cause instanceof Error) return 'code' in cause && typeof cause.code === 'string' ? `${cause.code}: ${cause.message}` : cause.message;
  return `${error.name}: ${error.message}`;
}

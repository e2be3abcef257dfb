import { systemClock, systemRandomness } from '@settlement/config/system-ports';
import type { RecordedEvent } from '@settlement/event-store/event';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { FeedProjection } from '@settlement/feed/feed-consumer';
import { ulidSource } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { MerchantRegistered, PaymentCollected, PaymentConfirmed, PaymentDisputed, PaymentReorged, RefundRequested } from '@settlement/proto/gateway/v1/events';
import { TransactionFinalized, TransactionIncluded, TransactionReorged, type IntentKind, type IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { BatchDriver } from '../src/batch/batch.driver';
import { gatewayFacts } from '../src/gateway-facts';
import { migrateLedger } from '../src/ledger.migration';
import type { GasTerms, IntentToSubmit, Relay, SubmissionAnswer } from '../src/ports/relay';
import type { PayeeToScreen, Screening, ScreeningAnswer } from '../src/ports/screening';
import type { GasToReserve, ReservationAnswer, Sponsorship } from '../src/ports/sponsorship';
import { RefundDriver } from '../src/refund/refund.driver';
import { relayerFacts } from '../src/relayer-facts';

export const CHAIN = 'eip155:31337';
export const TOKEN = 'USDC';
export const BACKOFF_NS = 30_000_000_000n;

const ids = ulidSource(systemClock, systemRandomness);
export const newId = (prefix: 'pay' | 'ref' | 'mer' | 'int'): string => ids.next(prefix);

/** The peers as the ports see them: they remember what they were asked, and answer a repetition like the first time. */
export class FakePeers implements Screening, Sponsorship, Relay {
  readonly screened = new Map<string, PayeeToScreen>();
  readonly reserved = new Map<string, GasToReserve>();
  readonly released = new Set<string>();
  readonly submitted = new Map<string, IntentToSubmit>();
  submitCalls = 0;
  /** Addresses that are not let through, with the code. */
  readonly refusedAddresses = new Map<string, string>();
  sponsorRefusal: string | undefined;
  relayRefusal: string | undefined;
  /** Thrown once by the call of that name, before or after it took effect. */
  failNext: { readonly call: 'screen' | 'reserve' | 'submit'; readonly when: 'before' | 'after'; readonly error: Error } | undefined;

  screen(payees: readonly PayeeToScreen[]): Promise<readonly ScreeningAnswer[]> {
    return this.#call('screen', () =>
      payees.map((payee) => {
        this.screened.set(payee.screeningId, payee);
        const code = payee.addresses.map((a) => this.refusedAddresses.get(a)).find((c) => c !== undefined);
        return { screeningId: payee.screeningId, allowed: code === undefined, code: code ?? '' };
      }),
    );
  }

  reserve(items: readonly GasToReserve[]): Promise<readonly ReservationAnswer[]> {
    return this.#call('reserve', () =>
      items.map((item): ReservationAnswer => {
        if (this.sponsorRefusal !== undefined) return { reservationId: item.reservationId, reserved: false, code: this.sponsorRefusal };
        this.reserved.set(item.reservationId, item);
        return { reservationId: item.reservationId, reserved: true };
      }),
    );
  }

  release(items: readonly { readonly reservationId: string }[]): Promise<void> {
    for (const { reservationId } of items) this.released.add(reservationId);
    return Promise.resolve();
  }

  submit(intents: readonly IntentToSubmit[]): Promise<readonly SubmissionAnswer[]> {
    this.submitCalls += 1;
    return this.#call('submit', () =>
      intents.map((intent): SubmissionAnswer => {
        if (this.relayRefusal !== undefined) return { intentId: intent.intentId, accepted: false, code: this.relayRefusal };
        const before = this.submitted.get(intent.intentId);
        const text = (it: IntentToSubmit): string => JSON.stringify(it);
        if (before !== undefined && text(before) !== text(intent)) return { intentId: intent.intentId, accepted: false, code: 'CONTENT_CHANGED' };
        this.submitted.set(intent.intentId, intent);
        return { intentId: intent.intentId, accepted: true };
      }),
    );
  }

  gasTerms(): Promise<GasTerms> {
    return Promise.resolve({ feePerGasWeiMax: 10n, settleGasBase: 100_000n, settleGasItem: 40_000n, refundGas: 120_000n });
  }

  async #call<T>(call: 'screen' | 'reserve' | 'submit', work: () => T): Promise<T> {
    const failure = this.failNext?.call === call ? this.failNext : undefined;
    if (failure !== undefined) this.failNext = undefined;
    if (failure?.when === 'before') throw failure.error;
    const result = await Promise.resolve(work());
    if (failure?.when === 'after') throw failure.error;
    return result;
  }
}

export interface Ledger {
  readonly postgres: LocalPostgres;
  readonly store: PostgresEventStore;
  readonly peers: FakePeers;
  readonly batches: BatchDriver;
  readonly refunds: RefundDriver;
  gateway(...facts: readonly GatewayFact[]): Promise<void>;
  /** At version 1 of their streams. */
  relayer(...facts: readonly TransactionFinalized[]): Promise<void>;
  /** The block of a transaction that is not final, and its end. */
  included(fact: TransactionIncluded): Promise<void>;
  reorged(fact: TransactionReorged, version?: bigint): Promise<void>;
  balances(merchantId: string): Promise<{ payable: bigint; inBatch: bigint; refunding: bigint }>;
  pending(merchantId: string): Promise<bigint>;
  sum(): Promise<bigint>;
  rows<Row extends Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  eventTypes(streamId: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

export type GatewayFact =
  | { readonly type: 'MerchantRegistered'; readonly fact: MerchantRegistered }
  | { readonly type: 'PaymentConfirmed'; readonly fact: PaymentConfirmed; readonly version: bigint }
  | { readonly type: 'PaymentReorged'; readonly fact: PaymentReorged; readonly version: bigint }
  | { readonly type: 'PaymentCollected'; readonly fact: PaymentCollected }
  | { readonly type: 'PaymentDisputed'; readonly fact: PaymentDisputed }
  | { readonly type: 'RefundRequested'; readonly fact: RefundRequested };

/** The ledger on a real Postgres of its own, with peers that stand in for the other services at the ports. */
export async function startLedger(): Promise<Ledger> {
  const postgres = await startPostgres({ databases: ['batch_settlement'] });
  const url = postgres.urlFor('batch_settlement');
  const store = await openEventStore({ source: 'batch-settlement', partitionMap: singleDatabase(url), region: 'local', epoch: 1n, clock: systemClock });
  await migrateLedger(url);
  const peers = new FakePeers();
  const shared = { store, clock: systemClock, screening: peers, sponsorship: peers, relay: peers, sponsorId: 'spo_batches' };
  const deliver = (projection: FeedProjection, events: readonly RecordedEvent[]): Promise<void> =>
    store.transact(0, (tx) => projection.apply(tx, events));
  return {
    postgres,
    store,
    peers,
    batches: new BatchDriver({ ...shared, backoffNs: BACKOFF_NS, limits: { ageMsMax: 1, paymentsMax: 1_000, valueMinorMax: 10n ** 15n } }),
    refunds: new RefundDriver(shared),
    gateway: (...facts) => deliver(gatewayFacts(systemClock), facts.map((f, i) => recorded('gateway', f.type, encodeGateway(f), i, 'version' in f ? f.version : 1n))),
    relayer: (...facts) =>
      deliver(
        relayerFacts(store, systemClock, BACKOFF_NS),
        facts.map((fact, i) => recorded('relayer', 'TransactionFinalized', TransactionFinalized.encode(fact).finish(), i)),
      ),
    included: (fact) => deliver(relayerFacts(store, systemClock, BACKOFF_NS), [recorded('relayer', 'TransactionIncluded', TransactionIncluded.encode(fact).finish(), 0)]),
    reorged: (fact, version) => deliver(relayerFacts(store, systemClock, BACKOFF_NS), [recorded('relayer', 'TransactionReorged', TransactionReorged.encode(fact).finish(), 0, version)]),
    async pending(merchantId) {
      const [row] = await store.query<{ owed: string; held: string }>(
        `select coalesce(-sum(balance) filter (where kind = 'merchant-pending'), 0)::text as owed, coalesce(sum(balance) filter (where kind = 'vault-pending'), 0)::text as held
           from ledger.account_balance where merchant_id = $1`,
        [merchantId],
      );
      if (row?.owed !== row?.held) throw new Error(`pending assets ${row?.held} are not what is pending for the merchant ${row?.owed}`);
      return BigInt(row?.owed ?? '0');
    },
    async balances(merchantId) {
      const rows = await store.query<{ kind: string; owed: string }>(
        'select kind, (-balance)::text as owed from ledger.account_balance where merchant_id = $1',
        [merchantId],
      );
      const of = (kind: string): bigint => BigInt(rows.find((r) => r.kind === kind)?.owed ?? '0');
      return { payable: of('merchant-payable'), inBatch: of('in-batch'), refunding: of('refunding') };
    },
    async sum() {
      const [row] = await store.query<{ sum: string }>('select coalesce(sum(amount), 0)::text as sum from ledger.posting');
      return BigInt(row?.sum ?? '0');
    },
    rows: (text, values = []) => store.query(text, values),
    async eventTypes(streamId) {
      return (await store.readStream(streamId)).map((event) => event.type);
    },
    async close() {
      await store.close();
      await postgres.stop();
    },
  };
}

function encodeGateway(it: GatewayFact): Uint8Array {
  switch (it.type) {
    case 'MerchantRegistered':
      return MerchantRegistered.encode(it.fact).finish();
    case 'PaymentConfirmed':
      return PaymentConfirmed.encode(it.fact).finish();
    case 'PaymentReorged':
      return PaymentReorged.encode(it.fact).finish();
    case 'PaymentDisputed':
      return PaymentDisputed.encode(it.fact).finish();
    case 'PaymentCollected':
      return PaymentCollected.encode(it.fact).finish();
    case 'RefundRequested':
      return RefundRequested.encode(it.fact).finish();
    default:
      return it satisfies never;
  }
}

function recorded(source: string, type: string, payload: Uint8Array, i: number, streamVersion = 1n): RecordedEvent {
  return {
    source,
    type,
    schemaVersion: 1,
    payload,
    partition: 0,
    position: BigInt(i + 1),
    eventId: `0-${i + 1}`,
    streamId: `test-${i}`,
    streamVersion,
    commandId: `test-${i}`,
    recordedAtNs: systemClock.nowNs() as UnixNs,
    traceparent: '',
    region: 'local',
    epoch: 1n,
    hash: new Uint8Array(32),
  };
}

export interface TestMerchant {
  readonly merchantId: string;
  readonly merchantKey: string;
  readonly payoutAddress: string;
}

let merchants = 0;

export function testMerchant(): TestMerchant {
  merchants += 1;
  return {
    merchantId: newId('mer'),
    merchantKey: `0x${merchants.toString(16).padStart(64, '0')}`,
    payoutAddress: `0x${(0xabc0000 + merchants).toString(16).padStart(40, '0')}`,
  };
}

export function registered({ merchantId, merchantKey, payoutAddress }: TestMerchant): GatewayFact {
  return {
    type: 'MerchantRegistered',
    fact: MerchantRegistered.fromPartial({
      merchantId,
      merchantKey,
      payoutAddress,
      chainId: CHAIN,
      displayName: 'Test merchant',
      sponsorId: 'spo_merchant',
      registeredAtNs: 1n,
    }),
  };
}

export function collected(merchant: TestMerchant, amount: bigint, paymentId = newId('pay'), place = { block: 10n, hash: `0x${'11'.repeat(32)}` }): GatewayFact & { readonly type: 'PaymentCollected' } {
  return {
    type: 'PaymentCollected',
    fact: {
      paymentId,
      merchantId: merchant.merchantId,
      merchantKey: merchant.merchantKey,
      chainId: CHAIN,
      amount: { token: TOKEN, amountMinor: amount.toString() },
      payerAddress: `0x${'99'.repeat(20)}`,
      transactionHash: place.hash,
      blockNumber: place.block,
      collectedAtNs: 1n,
      transactionId: '',
      transactionVersion: 0n,
    },
  };
}

/** What the gateway says of the same payment before it is final; `version` is that of the payment's stream. */
export function confirmed(of: GatewayFact & { readonly type: 'PaymentCollected' }, version: bigint): GatewayFact & { readonly type: 'PaymentConfirmed' } {
  return { type: 'PaymentConfirmed', version, fact: PaymentConfirmed.fromPartial({ ...of.fact, blockHash: `0xb${version}`, confirmedAtNs: 1n }) };
}

export function takenBack(of: GatewayFact & { readonly type: 'PaymentCollected' }, version: bigint): GatewayFact & { readonly type: 'PaymentReorged' } {
  return { type: 'PaymentReorged', version, fact: PaymentReorged.fromPartial({ ...of.fact, blockHash: `0xb${version - 1n}`, reorgedAtNs: 1n }) };
}

export function disputed(of: GatewayFact & { readonly type: 'PaymentCollected' }): GatewayFact & { readonly type: 'PaymentDisputed' } {
  return { type: 'PaymentDisputed', fact: PaymentDisputed.fromPartial({ ...of.fact, code: 'FINALITY_VIOLATED', disputedAtNs: 1n }) };
}

export function refundRequested(merchant: TestMerchant, paymentId: string, amount: bigint, refundId = newId('ref')): GatewayFact & { readonly type: 'RefundRequested' } {
  return {
    type: 'RefundRequested',
    fact: RefundRequested.fromPartial({
      paymentId,
      refundId,
      merchantId: merchant.merchantId,
      merchantKey: merchant.merchantKey,
      chainId: CHAIN,
      amount: { token: TOKEN, amountMinor: amount.toString() },
      to: `0x${'99'.repeat(20)}`,
      sponsorId: 'spo_merchant',
      requestedAtNs: 2n,
    }),
  };
}

export interface Outcome {
  readonly subjectId: string;
  readonly kind: IntentKind;
  readonly executed?: boolean;
  readonly reason?: IntentReason;
  readonly payouts?: readonly { readonly payoutId: string; readonly paid: boolean; readonly reason?: IntentReason }[];
}

let transactions = 0;

export function finalized(...outcomes: readonly Outcome[]): TransactionFinalized {
  transactions += 1;
  return TransactionFinalized.fromPartial({
    transactionId: `tx-${transactions}`,
    chainId: CHAIN,
    transactionHash: `0x${transactions.toString(16).padStart(64, 'f')}`,
    blockNumber: 20n,
    outcomes: outcomes.map((o): IntentOutcome => ({
      intentId: o.subjectId.replace(/^[a-z]+_/, 'int_'),
      subjectId: o.subjectId,
      kind: o.kind,
      executed: o.executed ?? true,
      reason: o.reason ?? IntentReason.INTENT_REASON_UNSPECIFIED,
      sponsorId: 'spo',
      reservationId: 'rsv',
      costWei: '1',
      payouts: (o.payouts ?? []).map((p) => ({ payoutId: p.payoutId, paid: p.paid, reason: p.reason ?? IntentReason.INTENT_REASON_UNSPECIFIED })),
      executedByTransactionHash: '',
    })),
  });
}

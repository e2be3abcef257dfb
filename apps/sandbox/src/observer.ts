import type { EventFeed, RunningSubscription } from '@settlement/feed/port';
import type { RecordedEvent } from '@settlement/event-store/event';
import { nsToMs } from '@settlement/kernel/time';
import * as batch from '@settlement/proto/batch/v1/events';
import * as gateway from '@settlement/proto/gateway/v1/events';
import * as relayer from '@settlement/proto/relayer/v1/events';

export interface PaymentTrack {
  readonly paymentId: string;
  merchantId: string;
  acceptedAtMs?: number;
  screenedAtMs?: number;
  sponsoredAtMs?: number;
  submittedAtMs?: number;
  collectedAtMs?: number;
  paidOutAtMs?: number;
  heldAtMs?: number;
  refusedCode?: string;
}

export interface StageCounts {
  readonly accepted: number;
  readonly screened: number;
  readonly sponsored: number;
  readonly submitted: number;
  readonly collected: number;
  readonly paidOut: number;
  readonly refused: number;
  readonly held: number;
}

export const sources = ['gateway', 'compliance-screening', 'paymaster', 'relayer', 'batch-settlement'] as const;

/**
 * Reads all five logs over the same feed that the services read, as one more consumer with its watermark in memory. What it
 * counts is therefore what the feed delivered, not what the services say of themselves.
 */
export class Observer {
  readonly payments = new Map<string, PaymentTrack>();
  /** Merchants that cannot be paid, with the reason; what is collected for them stays theirs in the vault. */
  readonly unpayableMerchants = new Map<string, string>();
  /** Events handled, once each. */
  delivered = 0;
  /** Events handed over again after they had been handled; dropped by the watermark, as every consumer does. */
  redelivered = 0;
  /** Business effects that happened twice; must be empty. */
  readonly doubled: string[] = [];
  readonly transactions = { collect: { count: 0, gas: 0n, items: 0 }, settle: { count: 0, gas: 0n, items: 0 }, refund: { count: 0, gas: 0n, items: 0 } };
  readonly batchesSettled = new Set<string>();

  private readonly watermarks = new Map<string, bigint>();
  private readonly journals = new Set<string>();
  private readonly executed = new Set<string>();
  private readonly paidPayouts = new Set<string>();
  private subscriptions: RunningSubscription[] = [];

  /** From the beginning of each log, or from behind these heads (by `<source>/<partition>`). */
  async start(feed: EventFeed, after: ReadonlyMap<string, bigint> = new Map()): Promise<void> {
    for (const [partition, head] of after) this.watermarks.set(partition, head);
    this.subscriptions = await Promise.all(
      sources.map((source) =>
        feed.subscribe({
          source,
          consumer: 'sandbox-observer',
          batchSizeMax: 1_000,
          watermark: (partition) => Promise.resolve(this.watermarks.get(`${source}/${partition}`) ?? 0n),
          handle: (partition, events) => {
            const key = `${source}/${partition}`;
            for (const event of events) {
              const watermark = this.watermarks.get(key) ?? 0n;
              if (event.position <= watermark) {
                this.redelivered += 1;
                continue;
              }
              if (event.position !== watermark + 1n) throw new Error(`gap in ${key}: ${watermark} is followed by ${event.position}`);
              this.watermarks.set(key, event.position);
              this.delivered += 1;
              this.observe(event);
            }
            return Promise.resolve();
          },
        }),
      ),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.subscriptions.map((subscription) => subscription.stop()));
  }

  counts(): StageCounts {
    const count = (has: (track: PaymentTrack) => boolean): number => [...this.payments.values()].filter(has).length;
    return {
      accepted: count((t) => t.acceptedAtMs !== undefined),
      screened: count((t) => t.screenedAtMs !== undefined),
      sponsored: count((t) => t.sponsoredAtMs !== undefined),
      submitted: count((t) => t.submittedAtMs !== undefined),
      collected: count((t) => t.collectedAtMs !== undefined),
      paidOut: count((t) => t.paidOutAtMs !== undefined),
      refused: count((t) => t.refusedCode !== undefined),
      held: count((t) => t.heldAtMs !== undefined),
    };
  }

  private track(paymentId: string): PaymentTrack {
    const known = this.payments.get(paymentId);
    if (known !== undefined) return known;
    const track: PaymentTrack = { paymentId, merchantId: '' };
    this.payments.set(paymentId, track);
    return track;
  }

  private once(seen: Set<string>, id: string, what: string): boolean {
    if (seen.has(id)) {
      this.doubled.push(`${what} ${id}`);
      return false;
    }
    seen.add(id);
    return true;
  }

  private observe(event: RecordedEvent): void {
    const atMs = nsToMs(event.recordedAtNs);
    switch (`${event.source}/${event.type}`) {
      case 'gateway/PaymentCreated': {
        const { paymentId, merchantId } = gateway.PaymentCreated.decode(event.payload);
        this.track(paymentId).merchantId = merchantId;
        return;
      }
      case 'gateway/PaymentAccepted':
        this.track(gateway.PaymentAccepted.decode(event.payload).paymentId).acceptedAtMs = atMs;
        return;
      case 'gateway/PaymentScreened':
        this.track(gateway.PaymentScreened.decode(event.payload).paymentId).screenedAtMs = atMs;
        return;
      case 'gateway/PaymentSponsored':
        this.track(gateway.PaymentSponsored.decode(event.payload).paymentId).sponsoredAtMs = atMs;
        return;
      case 'gateway/PaymentSubmitted':
        this.track(gateway.PaymentSubmitted.decode(event.payload).paymentId).submittedAtMs = atMs;
        return;
      case 'gateway/PaymentHeld':
        this.track(gateway.PaymentHeld.decode(event.payload).paymentId).heldAtMs = atMs;
        return;
      case 'gateway/PaymentRefused': {
        const { paymentId, code } = gateway.PaymentRefused.decode(event.payload);
        this.track(paymentId).refusedCode = code;
        return;
      }
      case 'gateway/PaymentCollected': {
        const track = this.track(gateway.PaymentCollected.decode(event.payload).paymentId);
        if (track.collectedAtMs !== undefined) this.doubled.push(`PaymentCollected ${track.paymentId}`);
        track.collectedAtMs = atMs;
        return;
      }
      case 'gateway/PaymentPaidOut': {
        const track = this.track(gateway.PaymentPaidOut.decode(event.payload).paymentId);
        if (track.paidOutAtMs !== undefined) this.doubled.push(`PaymentPaidOut ${track.paymentId}`);
        track.paidOutAtMs = atMs;
        return;
      }
      case 'relayer/TransactionFinalized': {
        const { gasUsed, outcomes } = relayer.TransactionFinalized.decode(event.payload);
        const kind = outcomes[0]?.kind;
        const bucket =
          kind === relayer.IntentKind.INTENT_KIND_COLLECT ? this.transactions.collect : kind === relayer.IntentKind.INTENT_KIND_SETTLE ? this.transactions.settle : this.transactions.refund;
        bucket.count += 1;
        bucket.gas += gasUsed;
        for (const outcome of outcomes) {
          if (!outcome.executed) continue;
          this.once(this.executed, outcome.intentId, 'intent executed');
          bucket.items += kind === relayer.IntentKind.INTENT_KIND_SETTLE ? outcome.payouts.filter((payout) => payout.paid).length : 1;
        }
        return;
      }
      case 'batch-settlement/JournalPosted':
        this.once(this.journals, batch.JournalPosted.decode(event.payload).cause, 'journal for');
        return;
      case 'batch-settlement/PayoutPaid':
        this.once(this.paidPayouts, batch.PayoutPaid.decode(event.payload).payoutId, 'payout');
        return;
      case 'batch-settlement/PayoutFailed': {
        const { merchantId, code } = batch.PayoutFailed.decode(event.payload);
        this.unpayableMerchants.set(merchantId, code);
        return;
      }
      case 'batch-settlement/BatchSettled':
        this.batchesSettled.add(batch.BatchSettled.decode(event.payload).batchId);
        return;
      default:
        return;
    }
  }
}

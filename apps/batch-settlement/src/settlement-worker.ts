import { projectFeed, type RunningFeedConsumer } from '@settlement/feed/feed-consumer';
import { storeDatabase } from '@settlement/feed/feed-database';
import type { EventFeed } from '@settlement/feed/port';
import type { PartitionOwners, Tenure } from '@settlement/event-store/ownership';
import type { EventStore } from '@settlement/event-store/port';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import type { HealthRegistry } from '@settlement/observability/health';
import type { Logger } from '@settlement/observability/logger';
import type { Registry } from 'prom-client';
import type { BatchDriver } from './batch/batch.driver';
import { GATEWAY_FACTS, gatewayFacts } from './gateway-facts';
import { Periodic } from './periodic';
import type { Reconciler } from './reconciliation/reconciler';
import type { RefundDriver } from './refund/refund.driver';
import { RELAYER_FACTS, relayerFacts } from './relayer-facts';

export interface WorkerOptions {
  readonly store: EventStore;
  readonly feed: EventFeed;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: HealthRegistry;
  readonly batches: BatchDriver;
  readonly refunds: RefundDriver;
  readonly reconciler: Reconciler;
  /** With several processes: which of them closes batches and compares with the chain. */
  readonly owners: PartitionOwners;
  readonly tickMs: number;
  readonly reconcileIntervalMs: number;
  readonly backoffNs: bigint;
}

/** Turns that fail for longer than this make the service unready: it would take requests that it cannot carry out. */
const STALLED_MS = 60_000;

/** Everything that runs without being asked: the two feeds, the batches and refunds on their way, reconciliation. */
export class SettlementWorker {
  readonly #tick: Periodic;
  readonly #reconcile: Periodic;
  #consumers: readonly RunningFeedConsumer[] = [];
  readonly #stopping = new AbortController();
  #tenure: Tenure | undefined;
  #owning: Promise<void> = Promise.resolve();

  constructor(private readonly options: WorkerOptions) {
    const { clock, logger, batches, refunds, reconciler, tickMs, reconcileIntervalMs } = options;
    this.#tick = new Periodic({
      clock,
      intervalMs: tickMs,
      turn: async () => {
        if (!this.#isAtWork) return;
        await batches.closeDue();
        await batches.advanceAll((batchId, error) => {
          logger.warn({ err: error, batch: batchId }, 'a batch could not go on; it is tried again');
        });
        await refunds.advanceAll((refundId, error) => {
          logger.error({ err: error, refund: refundId }, 'a refund could not go on; it is tried again');
        });
      },
      onFailure: (error) => {
        // A peer that is away is expected and passes; the rest is a defect that somebody must see.
        if (error instanceof OperationalError) logger.warn({ err: error }, 'batches and refunds wait');
        else logger.error({ err: error }, 'batches and refunds failed');
      },
    });
    this.#reconcile = new Periodic({
      clock,
      intervalMs: reconcileIntervalMs,
      turn: async () => {
        if (!this.#isAtWork) return;
        for (const r of await reconciler.reconcile()) {
          const facts = { chain: r.chainId, token: r.token, block: r.blockNumber.toString(), breaks: r.breaks };
          if (r.breaks > 0) logger.error(facts, 'ledger and chain differ');
          else logger.debug(facts, 'ledger equals chain');
        }
      },
      onFailure: (error) => {
        logger.error({ err: error }, 'reconciliation could not find out');
      },
    });
  }

  async start(): Promise<void> {
    const { store, feed, clock, logger, metrics, health, backoffNs } = this.options;
    const shared = { feed, database: storeDatabase(store), clock, logger, metrics };
    this.#consumers = [
      await projectFeed({ ...shared, source: 'gateway', consumer: 'ledger', types: GATEWAY_FACTS, batchSizeMax: 500 }, gatewayFacts(clock)),
      await projectFeed({ ...shared, source: 'relayer', consumer: 'outcomes', types: RELAYER_FACTS, batchSizeMax: 500 }, relayerFacts(store, clock, backoffNs)),
    ];
    const startedMs = clock.monotonicMs();
    this.#owning = this.#own();
    this.#tick.start();
    this.#reconcile.start();
    const fresh = (name: string, periodic: Periodic, limitMs: number, required: boolean): void => {
      health.register(
        name,
        () => {
          const ageMs = clock.monotonicMs() - (periodic.lastSuccessMs ?? startedMs);
          return Promise.resolve(
            ageMs <= limitMs ? { ok: true } : { ok: false, why: `no success for ${Math.round(ageMs / 1000)} s; the log says which peer or node is away` },
          );
        },
        { required },
      );
    };
    fresh('batches', this.#tick, STALLED_MS, false);
    fresh('reconciliation', this.#reconcile, STALLED_MS + this.options.reconcileIntervalMs * 2, false);
  }

  /**
   * Only to save calls: every id follows from the batch, so two processes at one batch ask the same and record once. Whoever is
   * not at work stands by, and takes over within a second of the other's end.
   */
  async #own(): Promise<void> {
    const { owners } = this.options;
    while (!this.#stopping.signal.aborted) {
      const tenure = await owners.own('settlement-worker', 0, 1, this.#stopping.signal);
      if (tenure === undefined) return;
      this.#tenure = tenure;
      this.#tick.wake();
      await new Promise<void>((resolve) => {
        const both = AbortSignal.any([tenure.ended, this.#stopping.signal]);
        if (both.aborted) resolve();
        both.addEventListener('abort', () => resolve(), { once: true });
      });
      // The turn in hand ends before another process begins.
      if (this.#stopping.signal.aborted) await Promise.all([this.#tick.stop(), this.#reconcile.stop()]);
      this.#tenure = undefined;
      await tenure.release();
    }
  }

  get #isAtWork(): boolean {
    return this.#tenure?.ended.aborted === false;
  }

  wake(): void {
    this.#tick.wake();
  }

  async caughtUp(): Promise<void> {
    await Promise.all(this.#consumers.map((consumer) => consumer.caughtUp()));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#owning, this.#tick.stop(), this.#reconcile.stop(), ...this.#consumers.map((consumer) => consumer.stop())]);
  }
}

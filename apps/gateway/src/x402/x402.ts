import type { BeforeApplicationShutdown } from '@nestjs/common';
import type { EventStore } from '@settlement/event-store/port';
import type { IdSource, SponsorId } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { Logger } from '@settlement/observability/logger';
import type { Registry } from 'prom-client';
import type { Access, Route } from '../http/route';
import type { DirectRelayer } from '../ports/direct-relayer';
import type { PaymentChain } from '../ports/payment-chain';
import type { Screener } from '../ports/screener';
import type { Sponsor } from '../ports/sponsor';
import { ExecutionFinder } from './execution-finder';
import { ExecutionWatch } from './execution-watch';
import { Facilitator } from './facilitator';
import { facilitatorRoutes } from './facilitator.rest';
import type { Networks } from './networks';
import { SettlementLog } from './settlement-log';
import { SettlementPipeline } from './settlement-pipeline';
import { executionReaction, settlementResumption } from './settlement.reaction';
import { Verifier } from './verifier';

export interface X402Options {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly networks: Networks;
  /** By CAIP-2 id, one for each of the networks' chains. */
  readonly chains: ReadonlyMap<string, PaymentChain>;
  readonly screener: Screener;
  readonly sponsor: Sponsor;
  readonly relayer: DirectRelayer;
  readonly sponsorId: SponsorId;
  readonly access: Access;
  readonly settleTimeoutMs: number;
  readonly batchMax: number;
}

/** Half a second of block time is looked at five times, an hour of it not more often than ten times a second. */
const LOOK_MS_MIN = 20;
const LOOK_MS_MAX = 100;

/** The x402 facilitator: its routes, and what goes on without a caller. */
export class X402 implements BeforeApplicationShutdown {
  readonly routes: readonly Route[];
  readonly resumption;
  readonly executions;
  private readonly stopping = new AbortController();

  constructor(options: X402Options) {
    const { store, clock, ids, logger, metrics, networks, chains, screener, sponsor, relayer } = options;
    const { signal } = this.stopping;
    const log = new SettlementLog(store, clock, ids, logger, metrics);
    const finder = new ExecutionFinder(chains, clock);
    const pipeline = new SettlementPipeline({ log, screener, sponsor, relayer, finder, logger, batchMax: options.batchMax, isAwaited: (settlementId) => facilitator.isAwaited(settlementId), signal });
    const lookMs = Math.min(LOOK_MS_MAX, Math.max(LOOK_MS_MIN, ...networks.chains.map(({ blockTimeMs }) => blockTimeMs / 10)));
    const watch = new ExecutionWatch({ log, relayer, finder, logger, lookMs, signal });
    const facilitator = new Facilitator({ log, verifier: new Verifier(chains, clock), finder, pipeline, watch, sponsorId: options.sponsorId, settleTimeoutMs: options.settleTimeoutMs, logger });
    this.routes = facilitatorRoutes({ facilitator, networks, relayer, access: options.access, logger, metrics });
    this.resumption = settlementResumption(pipeline);
    this.executions = executionReaction(log, finder);
  }

  /** What is under way is in the log and goes on at the next start, or in another process. */
  beforeApplicationShutdown(): void {
    this.stopping.abort();
  }
}

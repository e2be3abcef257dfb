import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { EndpointMetrics, EndpointState } from '../ports/endpoint-metrics';
import { QuarantineReason, quarantineReasonToJSON } from '@settlement/proto/relayer/v1/relayer';
import type { RelayerMetrics } from '../ports/relayer-metrics';

const ENDPOINT_STATES: readonly EndpointState[] = ['closed', 'half-open', 'open'];

const QUARANTINE_REASONS = Object.values(QuarantineReason).filter((reason) => typeof reason === 'number' && reason > 0).map((reason) => quarantineReasonToJSON(Number(reason)));

export function prometheusMetrics(registry: Registry): RelayerMetrics & EndpointMetrics {
  const registers = [registry];
  const waiting = new Gauge({ name: 'settlement_relayer_waiting_intents', help: 'Accepted intents that no transaction holds yet', labelNames: ['chain'], registers });
  // One number for an autoscaler. Each replica folds the whole log and shows the same: take the largest, not the sum.
  const waitingInAll = new Gauge({
    name: 'settlement_relayer_waiting_intents_in_all',
    help: 'Accepted intents of all chains that no transaction holds yet',
    registers,
    async collect() {
      const { values } = await waiting.get();
      this.set(values.reduce((sum, { value }) => sum + value, 0));
    },
  });
  waitingInAll.set(0);
  const oldest = new Gauge({ name: 'settlement_relayer_waiting_oldest_seconds', help: 'Age of the oldest waiting intent', labelNames: ['chain'], registers });
  const inFlight = new Gauge({ name: 'settlement_relayer_in_flight_transactions', help: 'Planned, not yet mined', labelNames: ['chain', 'key'], registers });
  const nonce = new Gauge({ name: 'settlement_relayer_next_nonce', help: 'Next nonce of the lane', labelNames: ['chain', 'key'], registers });
  const broadcast = new Counter({ name: 'settlement_relayer_broadcasts_total', help: 'Broadcast attempts by outcome', labelNames: ['chain', 'outcome'], registers });
  const included = new Histogram({
    name: 'settlement_relayer_broadcast_to_included_milliseconds',
    help: 'From the last broadcast to the receipt',
    labelNames: ['chain'],
    buckets: [100, 250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000, 300_000],
    registers,
  });
  const intents = new Counter({ name: 'settlement_relayer_intents_final_total', help: 'Intents of final transactions', labelNames: ['chain', 'kind', 'outcome'], registers });
  const gas = new Counter({ name: 'settlement_relayer_gas_used_total', help: 'Gas of final transactions', labelNames: ['chain', 'kind'], registers });
  const unknown = new Counter({ name: 'settlement_relayer_unknown_outcomes_total', help: 'Effects whose outcome had to be found out', labelNames: ['what'], registers });
  const reorgs = new Counter({ name: 'settlement_relayer_reorged_transactions_total', help: 'Transactions whose block ceased to be canonical, by the depth that it had', labelNames: ['chain', 'depth'], registers });
  const violated = new Counter({ name: 'settlement_relayer_finality_violations_total', help: 'Final transactions whose block ceased to be canonical', labelNames: ['chain'], registers });
  const displaced = new Counter({ name: 'settlement_relayer_displaced_transactions_total', help: 'Nonces used at final depth by bytes that this log never signed', labelNames: ['chain'], registers });
  const replaced = new Counter({ name: 'settlement_relayer_replacements_total', help: 'Further attempts at a nonce, by kind', labelNames: ['chain', 'kind'], registers });
  const unanswered = new Gauge({ name: 'settlement_relayer_unknown_broadcasts', help: 'Sent bytes whose fate nobody has told yet', labelNames: ['chain', 'key'], registers });
  const unansweredAge = new Gauge({ name: 'settlement_relayer_unknown_broadcast_oldest_seconds', help: 'Age of the oldest of them', labelNames: ['chain', 'key'], registers });
  const ceilings = new Counter({ name: 'settlement_relayer_fee_ceiling_waits_total', help: 'Steps at which a fee ceiling made something wait', labelNames: ['chain', 'what'], registers });
  const attempts = new Histogram({ name: 'settlement_relayer_attempts', help: 'Signed versions of a final nonce', labelNames: ['chain'], buckets: [1, 2, 3, 4, 6, 8, 12, 16], registers });
  const reverts = new Counter({ name: 'settlement_relayer_reverted_transactions_total', help: 'Transactions that reverted as a whole', labelNames: ['chain'], registers });
  const expired = new Counter({ name: 'settlement_relayer_expired_intents_total', help: 'Intents given up before signing', labelNames: ['chain'], registers });
  const quarantined = new Gauge({ name: 'settlement_relayer_lane_quarantined', help: '1 for the reason that a lane plans nothing new for', labelNames: ['chain', 'key', 'reason'], registers });
  const contested = new Counter({ name: 'settlement_relayer_contested_intents_total', help: 'Intents that another lane had claimed first', labelNames: ['chain'], registers });
  const endpoints = new Gauge({ name: 'settlement_relayer_rpc_endpoint_state', help: '1 for the state that an RPC endpoint is in: closed is in use, open is left out', labelNames: ['chain', 'endpoint', 'state'], registers });
  const disagreements = new Counter({ name: 'settlement_relayer_rpc_disagreements_total', help: 'Answers of an RPC endpoint that a quorum of the others contradicts', labelNames: ['chain', 'endpoint', 'what'], registers });
  return {
    endpointState(chain, endpoint, current) {
      for (const state of ENDPOINT_STATES) endpoints.set({ chain, endpoint, state }, state === current ? 1 : 0);
    },
    endpointDisagreement: (chain, endpoint, what) => disagreements.inc({ chain, endpoint, what }),
    waiting(chain, count, ageS) {
      waiting.set({ chain }, count);
      oldest.set({ chain }, ageS);
    },
    lane(chain, key, count, next) {
      inFlight.set({ chain, key }, count);
      nonce.set({ chain, key }, Number(next));
    },
    broadcast: (chain, outcome) => broadcast.inc({ chain, outcome }),
    included: (chain, ms) => included.observe({ chain }, ms),
    finalized(chain, kind, executed, failed, gasUsed) {
      intents.inc({ chain, kind, outcome: 'executed' }, executed);
      intents.inc({ chain, kind, outcome: 'failed' }, failed);
      gas.inc({ chain, kind }, Number(gasUsed));
    },
    unknownOutcome: (what) => unknown.inc({ what }),
    reorged: (chain, depth) => reorgs.inc({ chain, depth: depth < 10 ? String(depth) : '10+' }),
    finalityViolated: (chain) => violated.inc({ chain }),
    displaced: (chain) => displaced.inc({ chain }),
    replaced: (chain, kind) => replaced.inc({ chain, kind }),
    unknown(chain, key, count, oldestAgeMs) {
      unanswered.set({ chain, key }, count);
      unansweredAge.set({ chain, key }, oldestAgeMs / 1_000);
    },
    feeCeiling: (chain, what) => ceilings.inc({ chain, what }),
    attempts: (chain, count) => attempts.observe({ chain }, count),
    reverted: (chain) => reverts.inc({ chain }),
    expired: (chain, count) => expired.inc({ chain }, count),
    quarantined(chain, key, reason) {
      for (const candidate of QUARANTINE_REASONS) quarantined.set({ chain, key, reason: candidate }, candidate === reason ? 1 : 0);
    },
    contested: (chain, count) => contested.inc({ chain }, count),
  };
}

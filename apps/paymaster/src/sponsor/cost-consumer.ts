import type { RecordedEvent } from '@settlement/event-store/event';
import type { Transaction } from '@settlement/event-store/port';
import { gasFactsOf } from './relayer-facts';
import type { PaymasterLog } from '../ports/paymaster-log';
import type { PaymasterMetrics } from '../ports/paymaster-metrics';
import { requestsOf } from './relayer-outcomes.policy';
import type { SponsorDesk } from './sponsor-desk';

/**
 * Turns final transactions into spent gas and expired intents into released gas. Runs in the transaction that moves the
 * consumer's watermark, so each fact counts once; a repetition finds the reservation committed already.
 */
export function costConsumer(desk: SponsorDesk, log: PaymasterLog, metrics: PaymasterMetrics) {
  return {
    async apply(tx: Transaction, events: readonly RecordedEvent[]): Promise<void> {
      const traceparent = events.find((event) => event.traceparent !== '')?.traceparent ?? '';
      for (const [sponsorId, requests] of requestsOf(events.flatMap(gasFactsOf))) {
        const answers = await desk.decideIn(tx, sponsorId, requests, traceparent);
        answers.forEach((answer, i) => {
          const request = requests[i];
          if (answer.kind !== 'commit' || request?.kind !== 'commit') return;
          answer.items.forEach(({ state }, j) => {
            if (state !== 'unknown') return;
            // The chain has taken gas that nobody had reserved: the money is gone whatever is recorded here, so the fact
            // passes, and a person looks for who submitted it.
            metrics.oddCost('unknown_reservation');
            log.error({ sponsorId, ...request.items[j], cost: String(request.items[j]?.cost) }, 'gas was spent for a reservation that does not exist');
          });
        });
      }
    },
  };
}

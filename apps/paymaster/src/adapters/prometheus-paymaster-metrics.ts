import type { SponsorId } from '@settlement/kernel/ids';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { PaymasterMetrics } from '../ports/paymaster-metrics';
import type { SponsorState } from '../sponsor/sponsor.decider';
import { availableOf } from '../sponsor/sponsor.decider';

const SUMS = {
  budget: 'What the sponsor pays at most',
  reserved: 'Sum of open reservations',
  spent: 'What transactions took from the budget',
  available: 'Budget minus reserved minus spent',
  overrun: 'Gas spent beyond the budget, borne by the operator',
} as const;

/**
 * The sums are read from the book when they are scraped, so that several processes say the same. Wei as a double: exact to
 * 16 digits, which is a billionth of an ether at a million ether; the exact sums are in the book.
 */
export function prometheusPaymasterMetrics(registry: Registry, sums: () => Promise<ReadonlyMap<SponsorId, SponsorState>>, failed: (error: unknown) => void): PaymasterMetrics {
  const registers = [registry];
  let latest: ReadonlyMap<SponsorId, SponsorState> = new Map();
  let reading: Promise<void> | undefined;
  // One read a scrape: the gauges collect at the same time and share it. The other metrics are wanted most when the database
  // is away, so a read that fails is told, and the sums stay as they were.
  const read = (): Promise<void> =>
    (reading ??= sums()
      .then((found) => {
        latest = found;
      }, failed)
      .finally(() => {
        reading = undefined;
      }));
  for (const [name, help] of Object.entries(SUMS) as [keyof typeof SUMS, string][]) {
    new Gauge({
      name: `paymaster_sponsor_${name}_wei`,
      help,
      labelNames: ['sponsor'],
      registers,
      async collect() {
        await read();
        for (const [sponsor, state] of latest) this.set({ sponsor }, Number(name === 'available' ? availableOf(state) : state[name]));
      },
    });
  }
  const refused = new Counter({ name: 'paymaster_reservations_refused_total', help: 'Reservations refused', labelNames: ['sponsor', 'reason'], registers });
  const callers = new Histogram({ name: 'paymaster_group_callers', help: 'Callers that shared one transaction', buckets: [1, 2, 4, 8, 16, 32, 64, 128], registers });
  const items = new Histogram({ name: 'paymaster_group_items', help: 'Items of one transaction', buckets: [1, 10, 50, 100, 250, 500, 1_000, 2_000], registers });
  const odd = new Counter({ name: 'paymaster_odd_costs_total', help: 'Costs whose reservation was unknown, released or too small', labelNames: ['kind'], registers });
  const operations = new Counter({ name: 'paymaster_user_operations_total', help: 'User operations that were asked to be sponsored, by what became of the question', labelNames: ['outcome'], registers });
  const ended = new Counter({ name: 'paymaster_sponsorships_ended_total', help: 'Sponsorships that a final block has ended', labelNames: ['how'], registers });
  return {
    refused: (sponsor, reason) => refused.inc({ sponsor, reason }),
    group: (callerCount, itemCount) => {
      callers.observe(callerCount);
      items.observe(itemCount);
    },
    oddCost: (kind) => odd.inc({ kind }),
    operation: (outcome) => operations.inc({ outcome }),
    ended: (how, count) => ended.inc({ how }, count),
  };
}

import { OperationalError } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { PaymasterLog } from '../ports/paymaster-log';
import type { SponsorBook } from '../ports/sponsor-book';
import type { SponsorDesk } from './sponsor-desk';

export interface ConfiguredSponsor {
  readonly id: SponsorId;
  readonly budgetWei: Wei;
}

/**
 * Opens what is configured and not open yet. A sponsor that is open keeps its budget: a restart with an old configuration
 * must not undo what treasury has changed since through SetBudget.
 */
export async function openConfiguredSponsors(sponsors: readonly ConfiguredSponsor[], desk: SponsorDesk, book: SponsorBook, log: PaymasterLog): Promise<void> {
  for (const { id, budgetWei } of sponsors) {
    const open = await book.find(id);
    if (open === undefined) {
      const answer = await desk.ask(id, { kind: 'set-budget', budget: budgetWei, commandId: 'configured', alreadyApplied: false }, '');
      if (answer.kind !== 'set-budget' || answer.rejection !== undefined) throw new OperationalError('SPONSOR_NOT_OPENED', `sponsor ${id} could not be opened`, 'not-done');
      log.info({ sponsorId: id, budgetWei: String(budgetWei) }, 'a configured sponsor was opened');
    } else if (open.budget !== budgetWei) {
      log.info({ sponsorId: id, configuredWei: String(budgetWei), budgetWei: String(open.budget) }, 'a sponsor keeps its recorded budget, which differs from the configured one');
    }
  }
}

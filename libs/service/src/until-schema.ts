import type { ServiceConfig } from '@settlement/config/service-config';
import type { Clock } from '@settlement/kernel/time';
import type { ServiceShell } from './service-shell';
import { applySchema, outdatedComponents, passes, reasonOf, type SchemaPart } from './schema';

const LOOK_MS = 1_000;

/**
 * Brings the tables up to date, or with `MIGRATIONS=wait` watches until the migration job has. For as long as the database is
 * away, or the job has not run, this goes on and says why: the process stays up and unready, since ending it would only turn an
 * outage into a restart loop with growing pauses. A schema newer than this release is taken: an upgrade migrates before the older
 * pods leave, so a migration must leave the release before it working. False when told to stop meanwhile.
 */
export async function untilSchema(options: {
  readonly config: ServiceConfig;
  readonly shell: ServiceShell;
  readonly own: readonly SchemaPart[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<boolean> {
  const { config, shell, own, clock, signal } = options;
  let said: string | undefined;
  const waitFor = async (why: string, facts: object = {}): Promise<void> => {
    shell.health.waiting(why);
    if (said !== why) shell.logger.warn(facts, why);
    said = why;
    await clock.sleep(LOOK_MS, signal);
  };
  while (!signal.aborted) {
    try {
      if (config.MIGRATIONS === 'apply') {
        const applied = await applySchema(shell.name, config, own);
        if (applied.length > 0) shell.logger.info({ applied }, 'the tables were brought up to date');
        return true;
      }
      const outdated = await outdatedComponents(shell.name, config, own);
      if (outdated.length === 0) return true;
      await waitFor(`waiting for the schema: run the migration job (${outdated.join(', ')})`);
    } catch (error) {
      if (!passes(error)) throw error;
      await waitFor(`waiting for the database: ${reasonOf(error)}`, { err: error });
    }
  }
  return false;
}

import { InvalidInput, InvariantViolated } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import { parseEnvironment, type Environment } from '@settlement/config/environment';
import { migrationSchema } from '@settlement/config/service-config';
import { sqlState } from '@settlement/event-store/errors';
import { EXIT } from './exit-codes';
import { applySchema, passes, reasonOf, type SchemaPart } from './schema';

const RETRY_MS = 2_000;

export interface MigrateCommand {
  /** The service whose tables these are. */
  readonly name: string;
  readonly schema: readonly SchemaPart[];
  readonly environment: Environment;
  readonly clock: Clock;
  /** One line of progress, without its end. */
  readonly say: (line: string) => void;
}

/**
 * `main.mjs migrate`: brings the service's tables up to date and answers the exit code: 0 done (or nothing to do), 75 the
 * database was away or locked for all of `MIGRATE_TIMEOUT_MS` (run it again), 78 the configuration or the role does not fit this
 * database (a person must look), 70 a step failed by itself.
 */
export async function migrateCommand({ name, schema, environment, clock, say }: MigrateCommand): Promise<number> {
  let config;
  try {
    config = parseEnvironment(migrationSchema, environment);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    say(`${name} cannot migrate: its configuration is wrong`);
    for (const issue of error.issues) say(`  ${issue.path}: ${issue.message}`);
    return EXIT.config;
  }
  const untilMs = clock.monotonicMs() + config.MIGRATE_TIMEOUT_MS;
  let done = 0;
  for (;;) {
    try {
      const applied = await applySchema(name, config, schema);
      for (const { component, version, name: step } of applied) say(`${name}: applied ${component} ${version} (${step})`);
      done += applied.length;
      say(done === 0 ? `${name}: nothing to do, the schema is at its version` : `${name}: the schema is at its version`);
      return EXIT.ok;
    } catch (error) {
      const reason = reasonOf(error);
      if (!passes(error)) {
        say(`${name}: cannot migrate: ${reason}`);
        if (lacksPermission(error)) say(`${name}: the role in DATABASE_URL must own its database, since it creates schemas and tables`);
        return error instanceof InvariantViolated || lacksPermission(error) ? EXIT.config : EXIT.software;
      }
      const leftMs = untilMs - clock.monotonicMs();
      if (leftMs <= 0) {
        say(`${name}: gave up after ${Math.round(config.MIGRATE_TIMEOUT_MS / 1000)} s: ${reason}`);
        return EXIT.temporary;
      }
      say(`${name}: waiting for the database, ${Math.ceil(leftMs / 1000)} s left: ${reason}`);
      await clock.sleep(Math.min(RETRY_MS, leftMs));
    }
  }
}

/** 42501: the role may not create what the step creates. */
function lacksPermission(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) if (sqlState(at) === '42501') return true;
  return false;
}

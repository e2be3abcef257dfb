import { parseEnvironment, positiveInteger, type Environment } from '@settlement/config/environment';
import { serviceVariables } from '@settlement/config/service-config';
import { z } from 'zod';

const hexKeys = z
  .string()
  .transform((text) => text.split(',').map((key) => key.trim()))
  .pipe(z.array(z.string().regex(/^[0-9a-fA-F]{64,128}$/, 'expected keys of 32 to 64 bytes in hex, newest first, comma between')).min(1))
  .transform((keys) => keys.map((key): Uint8Array => Buffer.from(key, 'hex')));

const schema = z.object({
  ...serviceVariables,
  /** Folder of the lists: `<list id>/sdn.csv …`, or the files of one list by themselves. */
  LISTS_DIR: z.string().min(1),
  /** How often the folder is looked at; names, sizes and times only, unless they changed. */
  LISTS_POLL_MS: positiveInteger.default(2_000),
  /**
   * A list not seen fresh for longer than this decides nothing. Ten days: OFAC publishes several times a week, a fetcher runs
   * daily, and a long holiday weekend with a broken fetcher must page somebody before it stops payments.
   */
  LIST_MAX_AGE_MS: positiveInteger.default(10 * 24 * 60 * 60 * 1_000),
  /** Fewest entries that any version must have. Set it near the real size (OFAC SDN: 15,000) where the list is known. */
  LIST_ENTRIES_MIN: positiveInteger.default(1),
  /** Largest loss of entries against the active version, basis points. */
  LIST_SHRINK_BASIS_POINTS_MAX: z.coerce.bigint('expected basis points').min(0n).max(10_000n).default(1_000n),
  /** Comma-separated list ids that must all be usable; every list found when absent. */
  LISTS_REQUIRED: z.string().default('').transform((text) => text.split(',').map((id) => id.trim()).filter((id) => id !== '')),
  /** Secret. Keys of the digest that recognises a repeated request; newest first, older ones as long as their decisions are asked for. */
  PARTIES_DIGEST_KEYS: hexKeys,
});

export type ScreeningConfig = z.output<typeof schema>;

export function parseScreeningConfig(environment: Environment): ScreeningConfig {
  return parseEnvironment(schema, environment);
}

import { homedir } from 'node:os';
import { join } from 'node:path';

/** Outside the repository: shared by all clones, safe to delete. */
export function cacheFolder(): string {
  return process.env['SETTLEMENT_CACHE_DIR'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'settlement');
}

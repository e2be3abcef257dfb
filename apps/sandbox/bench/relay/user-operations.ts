import type { BenchResult } from '@settlement/testing/bench';
import type { System } from '../../src/system';
import type { Load } from './facilitator';

/**
 * Sponsored user operations, ours beside Alto on the same chain: scenario `user operations`, subject `ours` and the peer's name
 * with its version, figures as in facilitator.ts.
 */
export function userOperations(_system: System, _load: Load, progress: (text: string) => void): Promise<readonly BenchResult[]> {
  progress('user operations are not part of this bench yet');
  return Promise.resolve([]);
}

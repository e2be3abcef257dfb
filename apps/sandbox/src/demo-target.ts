import type { EventFeed } from '@settlement/feed/port';
import type { LocalDeployment } from '@settlement/local-stack/deploy';
import type { Endpoints } from './endpoints';
import type { Logs } from './event-count';
import type { LedgerView } from './money-check';
import type { ServiceName } from './service-process';

/** What the demo needs of a system, wherever it runs: processes of this machine or pods of a cluster. */
export interface DemoTarget extends Logs {
  readonly api: Endpoints;
  readonly adminToken: string;
  /** CAIP-2. */
  readonly chainId: string;
  readonly deployment: LocalDeployment;
  /** How the services hear of each other's facts. */
  readonly feed: 'postgres' | 'kafka';
  /**
   * Tells this run's merchants, references and authorizations from those of earlier runs; undefined where the system is new
   * and holds nothing else.
   */
  readonly run: string | undefined;
  /** Has all five logs; the observer's own. */
  openFeed(): EventFeed;
  ledger(): Promise<LedgerView>;
  /** SIGKILL, and back to ready. */
  killAndRestart(service: ServiceName): Promise<void>;
  /** Services that ended although nobody asked them to. */
  readonly unexpected: readonly string[];
}

import { migrate, type Migration } from '@settlement/event-store/migrate';
import { parking } from './migrations/0001-parking';

/** Component `feed`. */
export const FEED_MIGRATIONS: readonly Migration[] = [{ version: 1, name: 'parking', sql: parking }];

/** Tables that a consuming service needs in its own database. Run after the event store's migrations, whose watermarks it locks. */
export function migrateFeed(url: string): Promise<void> {
  return migrate(url, 'feed', FEED_MIGRATIONS);
}

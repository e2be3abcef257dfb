import { migrate, type Migration } from '@settlement/event-store/migrate';
import { gatewayTables } from './migrations/0001-gateway';

const MIGRATIONS: readonly Migration[] = [{ version: 1, name: 'gateway', sql: gatewayTables }];

export function migrateGateway(url: string): Promise<void> {
  return migrate(url, 'gateway', MIGRATIONS);
}

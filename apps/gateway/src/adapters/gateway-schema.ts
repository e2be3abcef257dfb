import { migrate, type Migration } from '@settlement/event-store/migrate';
import { gatewayTables } from './migrations/0001-gateway';
import { answerLocation } from './migrations/0002-answer-location';

export const GATEWAY_MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'gateway', sql: gatewayTables },
  { version: 2, name: 'location of a stored answer', sql: answerLocation },
];

export function migrateGateway(url: string): Promise<void> {
  return migrate(url, 'gateway', GATEWAY_MIGRATIONS);
}

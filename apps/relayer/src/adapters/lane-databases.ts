import type { EventStore } from '@settlement/event-store/port';

/** Which partitions stand together in one database: what one transaction can hold. */
export type LaneDatabases = readonly (readonly number[])[];

export function laneDatabases(store: Pick<EventStore, 'partitions'>, map: readonly { readonly partitions: readonly number[] }[] | undefined): LaneDatabases {
  return map?.map(({ partitions }) => partitions) ?? [Array.from({ length: store.partitions }, (_, partition) => partition)];
}

/** Any one partition of a database names it. */
export function nameOf(database: readonly number[]): number {
  return database[0] ?? 0;
}

export function databaseOf(databases: LaneDatabases, partition: number): number {
  return nameOf(databases.find((partitions) => partitions.includes(partition)) ?? []);
}

/** Stream of a lane's own events. */
export function laneStreamOf(laneId: string): string {
  return `lane-${laneId}`;
}

/** `<chain id>-<key address>` apart; a chain id may hold hyphens, an address is 42 characters. */
export function partsOfLaneId(laneId: string): { readonly chainId: string; readonly keyAddress: string } {
  return { chainId: laneId.slice(0, -43), keyAddress: laneId.slice(-42) };
}

import { systemClock } from '@settlement/config/system-ports';
import type { EncodedEvent } from '../src/event';
import type { Append, ExpectedVersion } from '../src/port';
import { openEventStore, singleDatabase, type EventStoreOptions, type PostgresEventStore } from '../src/postgres-event-store';

/** A store as services open it, on one database. */
export function openStore(url: string, overrides: Partial<EventStoreOptions> = {}): Promise<PostgresEventStore> {
  return openEventStore({ source: 'gateway', partitionMap: singleDatabase(url), region: 'eu', epoch: 1n, clock: systemClock, ...overrides });
}

export function event(type = 'PaymentAccepted', text = 'payload'): EncodedEvent {
  return { type, schemaVersion: 1, payload: new TextEncoder().encode(text), amountMinor: 1_250_000n, token: 'USDC', subjectId: text };
}

export function appendOf(streamId: string, commandId: string, expectedVersion: ExpectedVersion, ...events: readonly EncodedEvent[]): Append {
  return { streamId, commandId, expectedVersion, events };
}

import { systemClock } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase } from '../src/postgres-event-store';

/** A service that writes until it is killed, and prints each command id once its append is acknowledged. */
const [url = '', prefix = 'w', callers = '16'] = process.argv.slice(2);
const store = await openEventStore({ source: 'gateway', partitionMap: singleDatabase(url), region: 'eu', epoch: 1n, clock: systemClock });
let next = 0;
await Promise.all(
  Array.from({ length: Number(callers) }, async () => {
    for (;;) {
      const streamId = `${prefix}-${(next += 1)}`;
      await store.append({ streamId, commandId: streamId, expectedVersion: 'must-not-exist', events: [{ type: 'Written', schemaVersion: 1, payload: new TextEncoder().encode(streamId) }] });
      process.stdout.write(`${streamId}\n`);
    }
  }),
);

import pg from 'pg';
import { connectionConfig } from './connection';
import { notDone } from './errors';

/**
 * Hands the log to a new epoch: from its commit on, every append of an older epoch is refused, whoever sends it. Never lowers.
 * Waits for appends in flight, because it takes the same row locks; answers the epoch that stands afterwards.
 */
export async function raiseEpoch(url: string, epoch: bigint): Promise<bigint> {
  const client = new pg.Client(connectionConfig(url, 'settlement-epoch'));
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT id FROM event_store.partition ORDER BY id FOR NO KEY UPDATE');
    await client.query('UPDATE event_store.partition SET epoch = $1 WHERE epoch < $1', [epoch]);
    const { rows } = await client.query<{ epoch: bigint }>('SELECT max(epoch) AS epoch FROM event_store.partition');
    const { command } = await client.query('COMMIT');
    if (command !== 'COMMIT') throw notDone('EPOCH_NOT_RAISED', 'the database rolled the new epoch back');
    return rows[0]?.epoch ?? 0n;
  } finally {
    await client.end();
  }
}

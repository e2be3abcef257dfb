import type { Pool, PoolClient } from 'pg';

/**
 * Lends one connection of the pool. While it is lent the pool does not listen to it: a connection that the server ends between
 * two statements would otherwise end the process. After an error it is closed, which rolls back.
 */
export async function withConnection<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const lost = (error: Error): void => {
    broken = error;
  };
  client.on('error', lost);
  try {
    return await work(client);
  } catch (error) {
    broken ??= error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.off('error', lost);
    client.release(broken);
  }
}

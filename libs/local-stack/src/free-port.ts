import { createServer } from 'node:net';
import { OperationalError } from '@settlement/kernel/errors';

/** Ports of this machine that were free a moment ago, all different: they are held together before they are given out. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
        const server = createServer();
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => resolve(server));
      }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new OperationalError('NO_FREE_PORT', 'the system named no port', 'not-done');
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new OperationalError('NO_FREE_PORT', 'the system named no port', 'not-done');
  return port;
}

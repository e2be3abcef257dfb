import { InvalidInput } from '@settlement/kernel/errors';
import { parseChainServerConfig } from './chain-server-config';
import { startChainServer } from './chain-server';

const log = (text: string): void => { process.stdout.write(`chain: ${text}\n`); };

try {
  const server = await startChainServer(parseChainServerConfig(process.env), log);
  // As PID 1 of a container a process has no default handlers. Stopping writes the chain's state.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log(`${signal}: writing the state`);
      void server.stop().then(() => process.exit(0));
    });
  }
} catch (error) {
  process.stderr.write(`chain cannot start: ${error instanceof InvalidInput ? error.issues.map(({ path, message }) => `\n  ${path}: ${message}`).join('') : String(error)}\n`);
  process.exit(1);
}

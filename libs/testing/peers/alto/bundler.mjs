// Runs Alto on a local chain and prints where it listens, as one line of JSON, once it answers. From the environment:
//   RPC_URL, PORT, ENTRY_POINTS (comma separated), EXECUTOR_KEY, UTILITY_KEY, BLOCK_TIME_MS
// SIGTERM ends it.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const { RPC_URL, PORT, ENTRY_POINTS, EXECUTOR_KEY, UTILITY_KEY, BLOCK_TIME_MS = '1000' } = process.env;
// The package exports no such path: the program is started as a command, not imported.
const program = join(import.meta.dirname, '../../node_modules/@pimlico/alto/esm/cli/alto.js');
const alto = spawn(
  process.execPath,
  [
    program, '--entrypoints', ENTRY_POINTS, '--rpc-url', RPC_URL, '--port', PORT, '--executor-private-keys', EXECUTOR_KEY, '--utility-private-key', UTILITY_KEY,
    '--safe-mode', 'false', '--deploy-simulations-contract', 'true', '--refilling-wallets', 'false', '--block-time', BLOCK_TIME_MS, '--log-level', process.env.ALTO_LOG_LEVEL ?? 'warn',
    // Its default lets bundles wait for 15 s old block numbers.
    '--block-number-cache-ttl', '500', '--gas-price-expiry', '60',
  ],
  { stdio: ['ignore', 'pipe', 'pipe'] },
);
for (const stream of [alto.stdout, alto.stderr]) stream.pipe(process.stderr);
alto.once('exit', (code) => process.exit(code ?? 1));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => alto.kill('SIGKILL'));
process.once('exit', () => alto.kill('SIGKILL'));

const url = `http://127.0.0.1:${PORT}`;
for (const end = Date.now() + 50_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 200))) {
  try {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_supportedEntryPoints', params: [] }) });
    const { result } = await response.json();
    if (Array.isArray(result)) {
      process.stdout.write(`${JSON.stringify({ url, entryPoints: result })}\n`);
      break;
    }
  } catch {
    // Not listening yet.
  }
}

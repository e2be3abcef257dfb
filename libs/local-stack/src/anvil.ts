import { spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { repositoryRoot } from '@settlement/config/repository-root';
import { freePort } from './free-port';
import { killedWithParent } from './parent-death';

export interface AnvilOptions {
  /** A block each so many milliseconds, or a block a transaction. Anvil's clock runs ahead of the wall's when blocks come faster than one a second. */
  readonly blockTimeMs?: number | 'instant';
  readonly chainId?: number;
  /** Default: a free one. */
  readonly port?: number;
  /** Address to listen on. Default: this machine only. Its methods move anybody's money, so anything else belongs behind a network policy. */
  readonly host?: string;
  /** How many of the well-known development accounts are funded. */
  readonly accounts?: number;
  /** Blocks in an epoch: `finalized` lies two epochs behind `latest`, `safe` one. */
  readonly slotsInAnEpoch?: number;
  /** Keeps the chain in this file: loaded at the start, written every few seconds and at the end. */
  readonly statePath?: string;
}

export interface Anvil {
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly port: number;
  readonly pid: number;
  /** Ends it, writing the state first when it is kept. */
  stop(): Promise<void>;
}

/** The mnemonic that every development chain shares: its keys are public, never put value behind them. */
export const DEV_MNEMONIC = 'test test test test test test test test test test test junk';

/** Fits three full transactions of EIP-7825's size and is what mainnet has. */
const BLOCK_GAS_LIMIT = 60_000_000;

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;

function binary(): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const require = createRequire(join(repositoryRoot, 'package.json'));
  return join(dirname(require.resolve(`@foundry-rs/anvil-${process.platform}-${arch}/package.json`)), 'bin/anvil');
}

/** Starts an EVM node and answers when it answers. It ends with this process, also when that is killed (Linux: parent-death signal). */
export async function startAnvil(options: AnvilOptions = {}): Promise<Anvil> {
  const { blockTimeMs = 'instant', chainId = 31337, accounts = 10, slotsInAnEpoch = 1, statePath, host = '127.0.0.1' } = options;
  const port = options.port ?? (await freePort());
  removeOrphans();
  const cache = await mkdtemp(join(tmpdir(), `settlement-anvil-${process.pid}-`));
  const args = [
    '--quiet',
    ...['--host', host, '--port', String(port), '--chain-id', String(chainId)],
    ...['--accounts', String(accounts), '--balance', '1000000', '--mnemonic', DEV_MNEMONIC],
    ...['--slots-in-an-epoch', String(slotsInAnEpoch), '--gas-limit', String(BLOCK_GAS_LIMIT)],
    // A transaction above EIP-7825's 16,777,216 gas must fail here as it would on a real chain.
    '--enable-tx-gas-limit',
    // Its default order (fees) stays: with `--order fifo`, anvil 1.7.1 leaves transactions whose nonces arrived out of order in its pool.
    '--no-request-size-limit',
    ...['--cache-path', cache],
    ...(blockTimeMs === 'instant' ? [] : ['--block-time', String(blockTimeMs / 1000)]),
    ...(statePath === undefined ? [] : ['--state', statePath, '--state-interval', '5']),
  ];
  const path = binary();
  const [command = path, ...argv] = [...killedWithParent(), path, ...args];
  // Its home would otherwise collect states of past blocks for ever.
  const child = spawn(command, argv, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: cache, RUST_LOG: 'off' } });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2_000);
  });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  const killAndRemove = (): void => {
    kill();
    rmSync(cache, { recursive: true, force: true });
  };
  process.once('exit', killAndRemove);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      complaint += error.message;
      resolve();
    });
  });
  const cleanUp = async (): Promise<void> => {
    process.off('exit', killAndRemove);
    await rm(cache, { recursive: true, force: true });
  };

  const rpcUrl = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
      await cleanUp();
      throw new OperationalError('ANVIL_NOT_STARTED', `anvil ended before it answered: ${complaint.trim()}`, 'not-done');
    }
    if (await answers(rpcUrl, chainId)) break;
    if (Date.now() > deadline) {
      kill();
      await exited;
      await cleanUp();
      throw new OperationalError('ANVIL_NOT_STARTED', `anvil did not answer within ${START_TIMEOUT_MS} ms: ${complaint.trim()}`, 'not-done');
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  return {
    rpcUrl,
    chainId,
    port,
    pid: child.pid,
    async stop() {
      // SIGINT is what makes it write its state.
      child.kill('SIGINT');
      const late = setTimeout(kill, STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(late);
      await cleanUp();
    },
  };
}

/** Our own folders of processes that were killed before they could clean up. Without /proc nothing is known, and nothing removed. */
function removeOrphans(): void {
  if (!existsSync(`/proc/${process.pid}`)) return;
  for (const name of readdirSync(tmpdir())) {
    const pid = /^settlement-anvil-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const path = join(tmpdir(), name);
    if (statSync(path, { throwIfNoEntry: false })?.uid === process.getuid?.()) rmSync(path, { recursive: true, force: true });
  }
}

async function answers(rpcUrl: string, chainId: number): Promise<boolean> {
  try {
    const response = await fetch(rpcUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_chainId', params: [] }),
      signal: AbortSignal.timeout(1_000),
    });
    const body = (await response.json()) as { result?: string };
    return Number(body.result) === chainId;
  } catch {
    // Not listening yet: the caller asks again until its deadline.
    return false;
  }
}

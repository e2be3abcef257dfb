import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toHex } from '@settlement/chain/hex';
import type { EvmAddress } from '@settlement/kernel/address';
import { repositoryRoot } from '@settlement/config/repository-root';
import { registerMerchants } from './merchants';
import { tokenBalances } from './money-check';
import { payerOf } from './payer';
import { readSandboxFile, sandboxFile, writeSandboxFile, type Sandbox } from './sandbox-file';
import { startSystem, type System } from './system';

const help = `npm start -- [options]

The whole system on this machine, to develop against. Its state is kept across restarts.

  --fresh        forget everything and start empty
  --kafka        facts travel over a real Kafka broker (default: Postgres feed)
  --port N       the API's port             (default 4000, or a free one when it is taken)
  --block-ms N   time between blocks        (default 1000)
  --help         this text

Addresses, keys and tokens are printed and written to .settlement/sandbox.json. Ctrl-C stops it.
`;

const merchantCount = 2;
const payerCount = 5;
const seed = 0;
const tenThousandUsdc = 10_000_000_000n;

function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

async function main(): Promise<number> {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        fresh: { type: 'boolean', default: false },
        kafka: { type: 'boolean', default: false },
        port: { type: 'string', default: '4000' },
        'block-ms': { type: 'string', default: '1000' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${help}`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const port = Number(values.port);
  const blockTimeMs = Number(values['block-ms']);
  if (!Number.isInteger(port) || port < 1 || port > 65_535 || !Number.isInteger(blockTimeMs) || blockTimeMs < 100) {
    process.stderr.write(`--port takes 1 to 65535, --block-ms at least 100\n\n${help}`);
    return 2;
  }

  const folder = join(repositoryRoot, '.settlement', 'sandbox');
  const before = readSandboxFile();
  if (before?.running === true && !(await portIsFree(Number(new URL(before.api.url).port)))) {
    process.stderr.write(`a sandbox of this clone is running already: ${before.api.url}\n`);
    return 1;
  }
  if (values.fresh) {
    rmSync(folder, { recursive: true, force: true });
    rmSync(sandboxFile, { force: true });
  }
  const kept = !values.fresh && existsSync(join(folder, 'chain.json')) ? before : undefined;

  let stopping = false;
  let system: System | undefined;
  let resolveStopped: (() => void) | undefined;
  const stopped = new Promise<void>((resolve) => {
    resolveStopped = resolve;
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(130);
      stopping = true;
      process.stderr.write('\nstopping: services drain, the state is kept\n');
      resolveStopped?.();
    });
  }

  const payers = Array.from({ length: payerCount }, (_, index) => payerOf(seed, `sandbox/${index}`));
  const ports = { api: (await portIsFree(port)) ? port : 0, rpc: (await portIsFree(8_545)) ? 8_545 : 0 };
  if (ports.api === 0) process.stderr.write(`port ${port} is taken: the API gets a free one\n`);
  system = await startSystem({
    feed: values.kafka ? 'kafka' : 'postgres',
    folder,
    lasting: true,
    blockTimeMs,
    finalityDepth: 2,
    sanctioned: [payerOf(seed, 'sandbox/sanctioned').address],
    ports: { ...(ports.api === 0 ? {} : { api: ports.api }), ...(ports.rpc === 0 ? {} : { rpc: ports.rpc }) },
    onProgress: (text) => process.stderr.write(`· ${text}\n`),
    onUnexpectedExit: (name, code, signal) => {
      process.stderr.write(`✗ ${name} ended by itself (${signal ?? `code ${code}`}); starting it again. Its log: ${join(folder, 'logs', `${name}.log`)}\n`);
      setTimeout(() => {
        if (!stopping) system?.services.get(name)?.start();
      }, 1_000);
    },
  });
  try {
    await fundPayers(system, payers.map((payer) => payer.address));
    const merchants = kept?.merchants ?? (await registerMerchants(system.apiUrl, system.adminToken, system.chainId, merchantCount, seed, 'sandbox'));
    const sandbox: Sandbox = {
      running: true,
      feed: values.kafka ? 'kafka' : 'postgres',
      api: { url: system.apiUrl, docs: `${system.apiUrl}/docs`, openapi: `${system.apiUrl}/openapi.json`, x402: `${system.apiUrl}/x402` },
      adminToken: system.adminToken,
      merchants,
      payers: payers.map((payer) => ({ address: payer.address, privateKey: toHex(payer.privateKey) })),
      chain: { rpcUrl: system.anvil.rpcUrl, chainId: system.chainId, vault: system.deployment.vault, usdc: system.deployment.usdc, relayer: system.relayerAddress },
      userOperations: { bundler: system.bundlerUrl, paymaster: system.paymasterUrl },
      metrics: system.metricsUrls,
      grpc: system.grpcAddresses,
      postgres: {
        host: system.postgres.host,
        port: system.postgres.port,
        databases: Object.fromEntries([...system.services.keys()].map((name) => [name, system?.databaseUrl(name) ?? ''])),
      },
      kafka: system.kafka === undefined ? null : { brokers: [...system.kafka.brokers] },
    };
    writeSandboxFile(sandbox);
    process.stdout.write(summary(sandbox));
    await stopped;
    writeSandboxFile({ ...sandbox, running: false });
    return 0;
  } finally {
    stopping = true;
    await system.stop();
  }
}

/** Each payer starts with ten thousand test USDC, topped up at every start. */
async function fundPayers(system: System, addresses: readonly EvmAddress[]): Promise<void> {
  const balances = await tokenBalances(system, addresses);
  const grants = addresses.flatMap((to, index) => ((balances[index] ?? 0n) < tenThousandUsdc ? [{ to, units: tenThousandUsdc - (balances[index] ?? 0n) }] : []));
  if (grants.length > 0) await system.deployment.mintMany(grants);
}

function summary(sandbox: Sandbox): string {
  const list = (entries: readonly (readonly [string, string])[]): string => entries.map(([name, value]) => `  ${name.padEnd(30)}${value}`).join('\n');
  return `
Settlement is running. Everything here is test money.

${list([
  ['API', sandbox.api.url],
  ['documentation', sandbox.api.docs],
  ['OpenAPI', sandbox.api.openapi],
  ...(sandbox.api.x402 === undefined ? [] : [['x402 facilitator', sandbox.api.x402] as const]),
  ['admin token', sandbox.adminToken],
  ...sandbox.merchants.map((merchant, index): [string, string] => [`merchant ${index} key`, `${merchant.apiKey}   (${merchant.id})`]),
  ...sandbox.payers.map((payer, index): [string, string] => [`payer ${index}`, `${payer.address}   key ${payer.privateKey}`]),
  ['RPC', `${sandbox.chain.rpcUrl}   (${sandbox.chain.chainId})`],
  ...(sandbox.userOperations === undefined
    ? []
    : [
        ['bundler (ERC-4337)', sandbox.userOperations.bundler] as const,
        ['paymaster (ERC-7677)', sandbox.userOperations.paymaster] as const,
      ]),
  ['USDC', sandbox.chain.usdc],
  ['vault', sandbox.chain.vault],
  ...Object.entries(sandbox.metrics).map(([name, url]): [string, string] => [`metrics ${name}`, url]),
  ...Object.entries(sandbox.postgres.databases).map(([name, url]): [string, string] => [`log of ${name}`, url]),
  ...(sandbox.kafka === null ? [] : [['Kafka', sandbox.kafka.brokers.join(',')] as const]),
])}

All of this is in .settlement/sandbox.json.
Try:  npm run pay -- --amount 1.25        npm run events -- tail --service gateway
Ctrl-C stops it and keeps its state; npm start -- --fresh empties it.
`;
}

process.exitCode = await main();

import { existsSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot } from '@settlement/config/repository-root';
import { parseTlsFiles } from '@settlement/config/tls-config';
import { InvalidInput, OperationalError } from '@settlement/kernel/errors';
import { LaneState, LaneStatus, RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { grpcClient } from '@settlement/rpc/grpc-client';
import { RpcRefused } from '@settlement/rpc/rpc-error';
import { openCertificates } from '@settlement/rpc/tls/certificate-source';
import { lanesTable } from './lanes-table';

const HELP = `The relayer's lanes: one key on one chain each, whichever process owns it.

  npm run lanes                    state, owner, next nonce of the log and count of the chain, transactions in flight and the
                                   age of the oldest, the key's balance, the last error
  npm run lanes -- reinstate KEY   ends a lane's quarantine: its owner compares log and chain once more and goes on. On every
                                   chain that the key has a quarantined lane on, or on --chain

  npm run lanes -- quarantine KEY --why TEXT   takes a lane out: it follows what it has sent and plans nothing new

  --address HOST:PORT   the relayer's gRPC; the running sandbox's (npm start) when absent. Any process of several will do
  --chain ID            only lanes of this chain, such as eip155:8453
  --by NAME             who does this, for the record; your user name when absent
  --json                one JSON document a line

Where the services speak mutual TLS: TLS_CERT_FILE, TLS_KEY_FILE and TLS_CA_FILE, of the identity operator.

Exit codes: 0 done, 1 no such lane, 2 wrong usage, 3 the relayer did not answer, 4 it refuses this caller.
`;

class WrongUsage extends Error {}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        address: { type: 'string' },
        chain: { type: 'string', default: '' },
        by: { type: 'string' },
        why: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message : String(error));
  }
}

/** Of the file that `npm start` writes. */
function sandboxAddress(): string {
  const path = join(repositoryRoot, '.settlement', 'sandbox.json');
  const state = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { running?: unknown; grpc?: Record<string, unknown> }) : {};
  const address = state.running === true ? state.grpc?.['relayer'] : undefined;
  if (typeof address !== 'string') throw new WrongUsage('no sandbox is running here (npm start); name a relayer with --address HOST:PORT');
  return address;
}

function print(lanes: readonly LaneStatus[], json: boolean): void {
  if (json) for (const lane of lanes) process.stdout.write(`${JSON.stringify(LaneStatus.toJSON(lane))}\n`);
  else process.stdout.write(lanes.length === 0 ? 'no lanes\n' : `${lanesTable(lanes, Date.now())}\n`);
}

async function main(): Promise<number> {
  const { values: flags, positionals } = readArguments();
  if (flags.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [command, key, ...rest] = positionals;
  if (rest.length > 0 || (command !== undefined && command !== 'reinstate' && command !== 'quarantine')) throw new WrongUsage('say nothing, reinstate KEY, or quarantine KEY');
  if (command === 'quarantine' && flags.why === undefined) throw new WrongUsage('quarantine needs --why TEXT');
  if (command !== undefined && !/^0x[0-9a-fA-F]{40}$/.test(key ?? '')) throw new WrongUsage(`${command} needs the address of a key`);
  const certificates = openCertificates(parseTlsFiles(process.env));
  const client = grpcClient(RelayerServiceService, flags.address ?? sandboxAddress(), { certificates, defaultDeadlineMs: 10_000 });
  try {
    const { lanes } = await client.listLanes({ chainId: flags.chain });
    if (command === undefined) {
      print(lanes, flags.json);
      return 0;
    }
    const keyAddress = (key ?? '').toLowerCase();
    const mine = lanes.filter((lane) => lane.keyAddress === keyAddress);
    const by = flags.by ?? userInfo().username;
    if (command === 'quarantine' && mine.length > 0) {
      for (const { chainId } of mine) await client.quarantineLane({ chainId, keyAddress, by, why: flags.why ?? '' });
      if (!flags.json) process.stdout.write('taken out; what waits goes to other lanes\n');
      return 0;
    }
    const ill = mine.filter((lane) => lane.state === LaneState.LANE_STATE_QUARANTINED || lane.why.startsWith('halted'));
    if (ill.length === 0) {
      process.stderr.write(mine.length === 0 ? `no lane has the key ${keyAddress}\n` : `no lane of ${keyAddress} is quarantined\n`);
      return 1;
    }
    for (const { chainId } of ill) await client.reinstateLane({ chainId, keyAddress, by });
    if (!flags.json) process.stdout.write(`reinstated; the owner compares log and chain now\n`);
    print((await client.listLanes({ chainId: flags.chain })).lanes.filter((lane) => lane.keyAddress === keyAddress), flags.json);
    return 0;
  } finally {
    client.close();
    certificates?.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof WrongUsage || error instanceof InvalidInput) {
    process.stderr.write(`${error.message}\n\n${HELP}`);
    process.exitCode = 2;
  } else if (error instanceof OperationalError) {
    process.stderr.write(`the relayer did not answer (${error.code}: ${error.message}). Is it running, and is this its gRPC address?\n`);
    process.exitCode = 3;
  } else if (error instanceof RpcRefused) {
    process.stderr.write(`the relayer refuses (${error.code}: ${error.message})\n`);
    process.exitCode = 4;
  } else throw error;
}

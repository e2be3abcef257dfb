import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot } from '@settlement/config/repository-root';
import { parseTlsFiles } from '@settlement/config/tls-config';
import { InvalidInput } from '@settlement/kernel/errors';
import { PaymasterServiceService, SponsorshipState } from '@settlement/proto/paymaster/v1/paymaster';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { openCertificates, type CertificateSource } from '@settlement/rpc/tls/certificate-source';
import { z } from 'zod';
import { policyJson, policyToJson } from '../policy/policy-json';

const help = `npm run sponsor -- <command>

  budget <sponsor>                                      what is budgeted, reserved, spent and free
  set-budget <sponsor> <wei> --id <change>              the same change id twice is one change
  policy <sponsor>                                      what the sponsor pays for, as JSON
  set-policy <sponsor> <file> --id <change> --by <who>  replaces the whole policy
  sponsorship <id>                                      what was promised under an id, and what became of it

  --address host:port   the paymaster's gRPC; default: the running sandbox's

Where the services speak mutual TLS: TLS_CERT_FILE, TLS_KEY_FILE and TLS_CA_FILE, of the identity operator.
`;

/** From the file that `npm start` writes. */
function sandboxAddress(): string | undefined {
  const path = join(repositoryRoot, '.settlement', 'sandbox.json');
  if (!existsSync(path)) return undefined;
  const read = z.object({ grpc: z.object({ paymaster: z.string() }) }).safeParse(JSON.parse(readFileSync(path, 'utf8')));
  return read.success ? read.data.grpc.paymaster : undefined;
}

const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, (_key, it: unknown) => (typeof it === 'bigint' ? it.toString() : it), 2)}\n`);

async function run(client: RpcClient<typeof PaymasterServiceService>, command: string | undefined, args: readonly string[], id: string | undefined, by: string | undefined): Promise<number> {
  const [first, second] = args;
  switch (command) {
    case 'budget':
      if (first === undefined) return usage();
      print(await client.getBudget({ sponsorId: first }));
      return 0;
    case 'set-budget':
      if (first === undefined || second === undefined || id === undefined) return usage();
      print((await client.setBudget({ sponsorId: first, budgetWei: second, commandId: id })).budget);
      return 0;
    case 'policy': {
      if (first === undefined) return usage();
      const { version, policy } = await client.getPolicy({ sponsorId: first });
      print({ version, policy: policy === undefined ? null : policyToJson(policy) });
      return 0;
    }
    case 'set-policy': {
      if (first === undefined || second === undefined || id === undefined || by === undefined) return usage();
      const parsed = policyJson.safeParse(JSON.parse(readFileSync(second, 'utf8')));
      if (!parsed.success) throw new InvalidInput(parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
      const { version, policy } = await client.setPolicy({ sponsorId: first, policy: parsed.data, commandId: id, setBy: by });
      print({ version, policy: policy === undefined ? null : policyToJson(policy) });
      return 0;
    }
    case 'sponsorship': {
      if (first === undefined) return usage();
      const found = await client.getSponsorship({ sponsorshipId: first });
      print({ ...found, state: SponsorshipState[found.state] });
      return 0;
    }
    default:
      return usage();
  }
}

function usage(): number {
  process.stderr.write(help);
  return 2;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { address: { type: 'string' }, id: { type: 'string' }, by: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  const [command, ...args] = positionals;
  if (values.help === true) {
    process.stdout.write(help);
    return 0;
  }
  const address = values.address ?? sandboxAddress();
  if (address === undefined) {
    process.stderr.write('no sandbox is running and no --address was given\n');
    return 2;
  }
  let certificates: CertificateSource | undefined;
  let client: RpcClient<typeof PaymasterServiceService> | undefined;
  try {
    certificates = openCertificates(parseTlsFiles(process.env));
    client = grpcClient(PaymasterServiceService, address, { certificates });
    return await run(client, command, args, values.id, values.by);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    client?.close();
    certificates?.close();
  }
}

process.exitCode = await main();

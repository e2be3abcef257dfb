import { type EvmAddress, parseEvmAddress } from '@settlement/kernel/address';
import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';

export interface ChainServerConfig {
  readonly rpcPort: number;
  readonly httpPort: number;
  /** Where both listen. */
  readonly host: string;
  /** Keeps the chain over restarts. */
  readonly statePath: string;
  readonly blockTimeMs: number;
  readonly evmChainId: number;
  /** Blocks on top before services call a transaction final; passed on in the deployment document. */
  readonly finalityDepth: number;
  /** Known to the contracts as relayers, and given gas money. */
  readonly relayers: readonly EvmAddress[];
  /** Whose signatures the paymasters take; the development signer when absent. */
  readonly sponsorSigner?: EvmAddress;
  /** Under which services reach the node; passed on in the deployment document. */
  readonly publicRpcUrl: string;
}

/** Throws `InvalidInput` that names each variable and what it has to be. */
export function parseChainServerConfig(env: Readonly<Record<string, string | undefined>>): ChainServerConfig {
  const issues: InputIssue[] = [];
  const number = (name: string, absent: number, min: number, max: number): number => {
    const text = env[name];
    if (text === undefined || text === '') return absent;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < min || value > max) issues.push({ path: name, message: `must be a whole number from ${min} to ${max}, not '${text}'` });
    return value;
  };
  const address = (name: string, text: string): EvmAddress | undefined => {
    const parsed = parseEvmAddress(text.trim());
    if (parsed.ok) return parsed.value;
    issues.push({ path: name, message: `must hold addresses (0x and 40 hexadecimal digits), not '${text}'` });
    return undefined;
  };
  const relayers = (env['CHAIN_RELAYERS'] ?? '').split(',').filter((text) => text.trim() !== '').map((text) => address('CHAIN_RELAYERS', text)).filter((it) => it !== undefined);
  if (relayers.length === 0 && issues.length === 0) issues.push({ path: 'CHAIN_RELAYERS', message: 'must name the relayers’ addresses, separated by commas: the contracts know no others' });
  const signer = env['CHAIN_SPONSOR_SIGNER'];
  const sponsorSigner = signer === undefined || signer === '' ? undefined : address('CHAIN_SPONSOR_SIGNER', signer);
  const rpcPort = number('CHAIN_RPC_PORT', 8545, 1, 65_535);
  const config = {
    rpcPort,
    httpPort: number('CHAIN_HTTP_PORT', 8546, 1, 65_535),
    host: env['CHAIN_HOST'] ?? '0.0.0.0',
    statePath: env['CHAIN_STATE_FILE'] ?? '/state/chain.json',
    blockTimeMs: number('CHAIN_BLOCK_TIME_MS', 1_000, 50, 60_000),
    evmChainId: number('CHAIN_ID', 31_337, 1, 2 ** 32),
    finalityDepth: number('CHAIN_FINALITY_DEPTH', 2, 0, 1_000),
    relayers,
    ...(sponsorSigner === undefined ? {} : { sponsorSigner }),
    publicRpcUrl: env['CHAIN_PUBLIC_RPC_URL'] ?? `http://127.0.0.1:${rpcPort}`,
  };
  if (issues.length > 0) throw new InvalidInput(issues);
  return config;
}

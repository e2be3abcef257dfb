import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';

export interface ChainLog {
  readonly address: EvmAddress;
  readonly topics: readonly string[];
  readonly data: HexBytes;
  readonly blockNumber: bigint;
  readonly blockHash: string;
  readonly transactionHash: string;
  readonly transactionIndex: bigint;
  readonly logIndex: bigint;
}

/** Logs as JSON-RPC gives them, in `eth_getLogs` or a receipt. Throws OperationalError LOGS_MALFORMED. */
export function parseLogs(logs: unknown): readonly ChainLog[] {
  if (!Array.isArray(logs)) throw new OperationalError('LOGS_MALFORMED', 'expected a list of logs', 'not-done');
  return logs.map((log: unknown) => {
    const fields = log as Readonly<Record<string, unknown>> | null;
    if (typeof fields !== 'object' || fields === null || !Array.isArray(fields['topics'])) throw new OperationalError('LOGS_MALFORMED', 'expected a log with topics', 'not-done');
    return {
      address: String(fields['address']).toLowerCase() as EvmAddress,
      topics: fields['topics'].map(String),
      data: String(fields['data']).toLowerCase() as HexBytes,
      blockNumber: BigInt(String(fields['blockNumber'])),
      blockHash: String(fields['blockHash']),
      transactionHash: String(fields['transactionHash']),
      transactionIndex: BigInt(String(fields['transactionIndex'])),
      logIndex: BigInt(String(fields['logIndex'])),
    };
  });
}

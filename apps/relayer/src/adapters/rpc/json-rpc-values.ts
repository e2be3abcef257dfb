import { OperationalError } from '@settlement/kernel/errors';
import type { ReceiptLog } from '../../ports/chain-reader';

export function logOf(log: Readonly<Record<string, unknown>>): ReceiptLog {
  return {
    address: text('address', log['address']).toLowerCase(),
    topics: list('topics', log['topics']).map((topic) => text('topic', topic)),
    data: text('data', log['data']),
  };
}

/** geth gives the revert data as a string, others nest it once more. */
export function revertData(data: unknown): string | undefined {
  if (typeof data === 'string' && /^0x[0-9a-fA-F]*$/.test(data)) return data;
  if (typeof data === 'object' && data !== null && 'data' in data) return revertData(data.data);
  return undefined;
}

export function malformed(what: string): OperationalError {
  return new OperationalError('RPC_MALFORMED', `the node's answer has no usable ${what}`, 'not-done');
}

export function quantity(what: string, value: unknown): bigint {
  if (typeof value !== 'string' || !/^0x[0-9a-fA-F]+$/.test(value)) throw malformed(what);
  return BigInt(value);
}

export function text(what: string, value: unknown): string {
  if (typeof value !== 'string') throw malformed(what);
  return value;
}

export function list(what: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(what);
  return value as readonly unknown[];
}

export function record(what: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw malformed(what);
  return value as Readonly<Record<string, unknown>>;
}

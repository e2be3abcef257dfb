import { invariant, OperationalError } from '@settlement/kernel/errors';
import { RpcRefused, type JsonRpc } from './rpc';

/**
 * Several endpoints as one, for reading: the next is asked where one gives no answer. A node's refusal is an answer. Not for
 * sending, and not where a lie would cost money: that needs agreement, not an answer.
 */
export function firstAnswering(endpoints: readonly JsonRpc[]): JsonRpc {
  const [first] = endpoints;
  invariant(first !== undefined, 'NO_ENDPOINT', 'a chain has at least one endpoint');
  async function ask<T>(question: (rpc: JsonRpc) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const rpc of endpoints) {
      try {
        return await question(rpc);
      } catch (error) {
        if (!(error instanceof OperationalError) || error instanceof RpcRefused) throw error;
        last = error;
      }
    }
    throw last;
  }
  return {
    url: first.url,
    call: (method, params) => ask((rpc) => rpc.call(method, params)),
    batch: (requests) => ask((rpc) => rpc.batch(requests)),
  };
}

import { quantity as hex } from '@settlement/chain/hex';
import { RpcRefused, type JsonRpc, type RpcAnswer, type RpcRequest } from '@settlement/chain/rpc';
import type { CallRequest, Simulation, SimulationOptions } from '../../ports/chain-reader';
import { list, logOf, quantity, record, revertData, text } from './json-rpc-values';

/** JSON-RPC 2.0, 5.1; and what nodes and gateways say instead. */
const METHOD_NOT_FOUND = -32_601;
const LACKS_METHOD = /method.*(?:not (?:found|supported|available|exist|allowed)|does not exist)|unsupported method/i;
/** execution-apis eth_simulateV1: the given block does not follow the latest one, which has moved on. */
const NOT_THE_NEXT_BLOCK: ReadonlySet<number> = new Set([-38_020, -38_021]);

/**
 * `eth_simulateV1` (execution-apis), one request a call so that each stands on the latest state and has a block's gas to
 * itself, all in one round trip; `debug_traceCall` beside it where delegate calls are asked for. Remembers what a node lacks.
 */
export class JsonRpcSimulator {
  #simulates = true;
  #traces = true;

  constructor(private readonly rpc: JsonRpc) {}

  async simulate(requests: readonly CallRequest[], options: SimulationOptions): Promise<readonly Simulation[] | undefined> {
    if (!this.#simulates) return undefined;
    const traced = options.delegateCalls && this.#traces;
    const answers = await this.rpc.batch([...requests.map((it) => simulation(it, options.block)), ...(traced ? requests.map(trace) : [])]);
    const simulations = answers.slice(0, requests.length);
    if (simulations.some(lacksMethod)) {
      this.#simulates = false;
      return undefined;
    }
    if (options.block !== undefined && simulations.some((it) => !it.ok && NOT_THE_NEXT_BLOCK.has(it.error.code))) {
      return this.simulate(requests, { ...options, block: undefined });
    }
    const traces = answers.slice(requests.length);
    if (traces.some(lacksMethod)) this.#traces = false;
    return simulations.map((answer, i): Simulation => {
      const outcome = outcomeOf(answer);
      const called = traces[i];
      return outcome.ok && called?.ok === true ? { ...outcome, delegateCalls: delegateCallsOf(called.result) } : outcome;
    });
  }
}

function lacksMethod(answer: RpcAnswer): boolean {
  return !answer.ok && (answer.error.code === METHOD_NOT_FOUND || LACKS_METHOD.test(answer.error.message));
}

function callObject({ from, to, data, gas, valueWei }: CallRequest): Readonly<Record<string, string>> {
  return { from, to, data, gas: hex(gas), ...(valueWei === undefined ? {} : { value: hex(valueWei) }) };
}

function simulation(request: CallRequest, block: SimulationOptions['block']): RpcRequest {
  const blockOverrides = block === undefined ? {} : { blockOverrides: { number: hex(block.number), time: hex(block.timestampS) } };
  return { method: 'eth_simulateV1', params: [{ blockStateCalls: [{ ...blockOverrides, calls: [callObject(request)] }], traceTransfers: true, validation: false }, 'latest'] };
}

function trace(request: CallRequest): RpcRequest {
  return { method: 'debug_traceCall', params: [callObject(request), 'latest', { tracer: 'callTracer' }] };
}

function outcomeOf(answer: RpcAnswer): Simulation {
  if (!answer.ok) {
    const data = revertData(answer.error.data);
    if (answer.error.code === 3 || data !== undefined) return { ok: false, data: data ?? '0x', message: answer.error.message };
    throw new RpcRefused('eth_simulateV1', answer.error);
  }
  const [block] = list('eth_simulateV1', answer.result);
  const [call] = list('calls', record('eth_simulateV1', block)['calls']);
  const result = record('calls', call);
  if (quantity('status', result['status']) === 1n) {
    return { ok: true, gasUsed: quantity('gasUsed', result['gasUsed']), logs: list('logs', result['logs']).map((log) => logOf(record('log', log))) };
  }
  const error = result['error'] === undefined || result['error'] === null ? {} : record('error', result['error']);
  const returned = text('returnData', result['returnData']);
  return { ok: false, data: returned === '0x' ? (revertData(error['data']) ?? '0x') : returned, message: typeof error['message'] === 'string' ? error['message'] : 'reverted' };
}

/** All DELEGATECALLs of a callTracer tree. `from` of such a frame is the account that the code runs in place of. */
function delegateCallsOf(root: unknown): readonly { readonly inPlaceOf: string; readonly code: string }[] {
  const found: { inPlaceOf: string; code: string }[] = [];
  const open: unknown[] = [root];
  while (open.length > 0) {
    const frame = record('callTracer', open.pop());
    if (frame['type'] === 'DELEGATECALL' || frame['type'] === 'CALLCODE') found.push({ inPlaceOf: text('from', frame['from']).toLowerCase(), code: text('to', frame['to']).toLowerCase() });
    if (frame['calls'] !== undefined && frame['calls'] !== null) open.push(...list('calls', frame['calls']));
  }
  return found;
}

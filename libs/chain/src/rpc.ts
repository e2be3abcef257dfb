import { OperationalError, type Outcome } from '@settlement/kernel/errors';

/** What a node says about one request of a batch. */
export type RpcAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: RpcRefusal };

export interface RpcRefusal {
  /** JSON-RPC code: -32000 for most of a node's own objections, 3 for a revert. */
  readonly code: number;
  readonly message: string;
  /** For a revert its data as 0x hex. */
  readonly data?: unknown;
}

export interface RpcRequest {
  readonly method: string;
  readonly params: readonly unknown[];
}

/** A node's refusal. It did answer, so the effect was not done. */
export class RpcRefused extends OperationalError {
  override readonly name = 'RpcRefused';

  constructor(
    readonly method: string,
    readonly refusal: RpcRefusal,
  ) {
    super('RPC_REFUSED', `${method}: ${refusal.message} (${refusal.code})`, 'not-done');
  }
}

/** An HTTP answer that is no JSON-RPC: a gateway spoke, not the node. Whether the node saw the request is not known. */
export class RpcHttpFailure extends OperationalError {
  override readonly name = 'RpcHttpFailure';

  constructor(
    methods: string,
    readonly status: number,
    outcome: Outcome,
    /** RFC 9110, 10.2.3: not to be asked again before. */
    readonly retryAfterMs?: number,
    cause?: unknown,
  ) {
    super(status === 429 ? 'RPC_RATE_LIMITED' : 'RPC_MALFORMED', `${methods}: HTTP ${status} without an answer`, outcome, { cause });
  }
}

export interface JsonRpc {
  readonly url: string;
  /** The result, `RpcRefused`, or `OperationalError` RPC_UNREACHABLE | RPC_TIMEOUT | RPC_MALFORMED with its outcome. */
  call(method: string, params: readonly unknown[]): Promise<unknown>;
  /** Answers in the order of the requests. Sent in chunks of at most `batchSizeMax`; throws only when a whole chunk has no answer. */
  batch(requests: readonly RpcRequest[]): Promise<readonly RpcAnswer[]>;
}

export interface JsonRpcOptions {
  /** Until the whole answer is read. A node that takes longer is as good as down. */
  readonly timeoutMs?: number;
  /** Requests in one HTTP body; public nodes cap it at 100 to 1,000. */
  readonly batchSizeMax?: number;
}

/** Methods that change something: without an answer they may have happened. Everything else is asked again freely. */
const EFFECTS = /^(?:eth_send|anvil_|evm_|hardhat_)/;

/** Errors of a connection that never stood: nothing was sent. */
const NOT_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

function causeCode(error: unknown): string {
  for (let e: unknown = error, depth = 0; e instanceof Error && depth < 4; e = e.cause, depth += 1) {
    if ('code' in e && typeof e.code === 'string') return e.code;
    if (e instanceof AggregateError && e.errors.length > 0) return causeCode(e.errors[0]);
  }
  return '';
}

/** Seconds, or an HTTP date; anything else is no statement. */
function retryAfterMs(header: string | null): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

/** A node that leaves out one item of a batch has said nothing about it, and something about the others. */
export const NO_ANSWER: RpcRefusal = { code: 0, message: 'no answer to this item of the batch' };

function parseAnswer(method: string, body: unknown): RpcAnswer {
  if (typeof body === 'object' && body !== null) {
    if ('error' in body && typeof body.error === 'object' && body.error !== null) {
      const { code, message, data } = body.error as { code?: unknown; message?: unknown; data?: unknown };
      return { ok: false, error: { code: typeof code === 'number' ? code : 0, message: typeof message === 'string' ? message : 'no message', ...(data === undefined ? {} : { data }) } };
    }
    if ('result' in body) return { ok: true, result: body.result };
  }
  throw new OperationalError('RPC_MALFORMED', `${method}: the node's answer is neither result nor error`, EFFECTS.test(method) ? 'unknown' : 'not-done');
}

/** Credentials in a URL go into the header (RFC 7617): fetch refuses them there, with an error that prints them. */
function addressed(url: string): { readonly target: string; readonly headers: Readonly<Record<string, string>> } {
  const target = new URL(url);
  const headers = { 'content-type': 'application/json' };
  if (target.username === '' && target.password === '') return { target: url, headers };
  const credentials = Buffer.from(`${decodeURIComponent(target.username)}:${decodeURIComponent(target.password)}`).toString('base64');
  [target.username, target.password] = ['', ''];
  return { target: target.href, headers: { ...headers, authorization: `Basic ${credentials}` } };
}

/** JSON-RPC 2.0 over HTTP with kept-alive connections. */
export function jsonRpc(url: string, { timeoutMs = 10_000, batchSizeMax = 100 }: JsonRpcOptions = {}): JsonRpc {
  let nextId = 0;
  const { target, headers } = addressed(url);

  async function post(methods: string, effect: boolean, body: string): Promise<unknown> {
    const failed = (code: string, what: string, outcome: Outcome, cause?: unknown) => new OperationalError(code, `${methods}: ${what}`, outcome, { cause });
    const inDoubt: Outcome = effect ? 'unknown' : 'not-done';
    let response: Response;
    let text: string;
    try {
      response = await fetch(target, { method: 'POST', headers, body, signal: AbortSignal.timeout(timeoutMs) });
      text = await response.text();
    } catch (error) {
      if (error instanceof Error && error.name === 'TimeoutError') throw failed('RPC_TIMEOUT', `no answer within ${timeoutMs} ms`, inDoubt, error);
      const code = causeCode(error);
      throw failed('RPC_UNREACHABLE', code === '' ? 'connection failed' : code, NOT_SENT.has(code) ? 'not-done' : inDoubt, error);
    }
    // RFC 6585: what is answered with 429 was not processed, whatever its body says.
    if (response.status === 429) throw new RpcHttpFailure(methods, 429, 'not-done', retryAfterMs(response.headers.get('retry-after')));
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new RpcHttpFailure(methods, response.status, inDoubt, undefined, error);
    }
  }

  async function chunk(requests: readonly RpcRequest[]): Promise<readonly RpcAnswer[]> {
    const first = nextId;
    nextId += requests.length;
    const methods = [...new Set(requests.map((r) => r.method))].join(', ');
    const effect = requests.some((r) => EFFECTS.test(r.method));
    const body = await post(methods, effect, JSON.stringify(requests.map(({ method, params }, i) => ({ jsonrpc: '2.0', id: first + i, method, params }))));
    if (!Array.isArray(body)) {
      // One error for all: the node refused the batch as such.
      const answer = parseAnswer(methods, body);
      if (!answer.ok) throw new RpcRefused(methods, answer.error);
      throw new OperationalError('RPC_MALFORMED', `${methods}: expected one answer a request`, effect ? 'unknown' : 'not-done');
    }
    const byId = new Map<unknown, unknown>(body.map((item: unknown) => [typeof item === 'object' && item !== null && 'id' in item ? item.id : undefined, item]));
    return requests.map(({ method }, i) => (byId.has(first + i) ? parseAnswer(method, byId.get(first + i)) : { ok: false, error: NO_ANSWER }));
  }

  return {
    url,
    async call(method, params) {
      const id = nextId;
      nextId += 1;
      const answer = parseAnswer(method, await post(method, EFFECTS.test(method), JSON.stringify({ jsonrpc: '2.0', id, method, params })));
      if (!answer.ok) throw new RpcRefused(method, answer.error);
      return answer.result;
    },
    async batch(requests) {
      const answers: RpcAnswer[] = [];
      for (let at = 0; at < requests.length; at += batchSizeMax) answers.push(...(await chunk(requests.slice(at, at + batchSizeMax))));
      return answers;
    },
  };
}

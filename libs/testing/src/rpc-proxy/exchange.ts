import type { IncomingMessage, ServerResponse } from 'node:http';

export interface RpcItem {
  readonly jsonrpc?: string;
  readonly id: unknown;
  readonly method: string;
  readonly params: readonly unknown[];
}

export interface RpcReply {
  readonly jsonrpc: string;
  readonly id: unknown;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** One HTTP request on its way to the node, in the hands of a fault. */
export class Exchange {
  readonly items: readonly RpcItem[];
  readonly #isBatch: boolean;

  constructor(
    body: string,
    private readonly target: string,
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
  ) {
    const parsed: unknown = JSON.parse(body);
    this.#isBatch = Array.isArray(parsed);
    this.items = (this.#isBatch ? parsed : [parsed]) as RpcItem[];
  }

  get methods(): string {
    return [...new Set(this.items.map(({ method }) => method))].join(',');
  }

  /** Asks the node; its answers in the order of the items. */
  async forward(items: readonly RpcItem[] = this.items): Promise<RpcReply[]> {
    const response = await fetch(this.target, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(items) });
    const replies = (await response.json()) as RpcReply[];
    const byId = new Map(replies.map((reply) => [reply.id, reply]));
    return items.map(({ id }) => byId.get(id) ?? { jsonrpc: '2.0', id, error: { code: -32_603, message: 'the node left this out' } });
  }

  /** One question of the fault's own. */
  async ask(method: string, params: readonly unknown[]): Promise<unknown> {
    const [reply] = await this.forward([{ jsonrpc: '2.0', id: 'fault', method, params }]);
    return reply?.result;
  }

  answer(replies: readonly RpcReply[]): void {
    this.respond(200, { 'content-type': 'application/json' }, this.#text(replies));
  }

  respond(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    this.response.writeHead(status, headers).end(body);
  }

  /** Headers and the first half of the body; then nothing more, on an open connection. */
  answerHalf(replies: readonly RpcReply[]): void {
    const text = this.#text(replies);
    this.response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) });
    this.response.write(text.slice(0, Math.floor(text.length / 2)));
  }

  /** TCP reset. */
  reset(): void {
    this.request.socket.resetAndDestroy();
  }

  #text(replies: readonly RpcReply[]): string {
    return JSON.stringify(this.#isBatch ? replies : replies[0]);
  }
}

export const withResult = (reply: RpcReply, result: unknown): RpcReply => ({ jsonrpc: '2.0', id: reply.id, result });

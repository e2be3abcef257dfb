import type { z } from 'zod';
import type { Caller } from '../merchant/caller';
import type { Scope } from '../merchant/scope';
import type { ProblemCode } from './problem-codes';

/** Who may call. `public` needs nothing. */
export type Access = { readonly kind: 'public' } | { readonly kind: 'admin' } | { readonly kind: 'merchant'; readonly scope: Scope };

/** The caller's idempotency key with the digest of what was asked. */
export interface IdempotencyClaim {
  /** Whose key it is: a merchant id, or `admin`. */
  readonly owner: string;
  readonly key: string;
  /** SHA-256 of method, path and canonical body, hex. */
  readonly fingerprint: string;
}

export interface RouteRequest<Body, Query, Params> {
  readonly body: Body;
  readonly query: Query;
  readonly params: Params;
  /** Throws unless the route is for merchants. */
  readonly caller: Caller;
  /** Throws unless the route is idempotent. */
  readonly idempotency: IdempotencyClaim;
  /** W3C, empty when not traced. */
  readonly traceparent: string;
}

/** An answer ready for the wire. `replayed` when it is the stored answer of an earlier request. */
export interface RouteAnswer {
  readonly status: number;
  /** JSON text; undefined for no content. */
  readonly body: string | undefined;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly replayed?: boolean;
}

export interface RouteDocumentation {
  readonly operationId: string;
  readonly tag: 'Payments' | 'Refunds' | 'Balance' | 'Webhooks' | 'x402' | 'Administration' | 'Service';
  readonly summary: string;
  readonly description?: string;
  /** Schema of each answer that is not a problem. */
  readonly answers: Readonly<Record<number, { readonly description: string; readonly schema?: z.ZodType; readonly contentType?: string }>>;
  /** Besides those that follow from access, body and idempotency. */
  readonly problems: readonly ProblemCode[];
}

/** One operation of the API: what it takes, who may call it and what it answers. Handlers and OpenAPI come from here alone. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** OpenAPI form, such as `/v1/payments/{id}`. */
  readonly path: string;
  readonly access: Access;
  readonly idempotent: boolean;
  /** Answers when the chain has, and has a limit of its own for that: what it waits for is not the store. */
  readonly awaitsChain: boolean;
  readonly body: z.ZodType | undefined;
  readonly query: z.ZodObject | undefined;
  readonly params: z.ZodObject | undefined;
  readonly documentation: RouteDocumentation;
  handle(request: RouteRequest<unknown, unknown, unknown>): Promise<RouteAnswer>;
}

interface TypedRoute<B extends z.ZodType | undefined, Q extends z.ZodObject | undefined, P extends z.ZodObject | undefined> {
  readonly method: Route['method'];
  readonly path: string;
  readonly access: Access;
  readonly idempotent?: boolean;
  readonly awaitsChain?: boolean;
  readonly body?: B;
  readonly query?: Q;
  readonly params?: P;
  readonly documentation: RouteDocumentation;
  readonly handle: (
    request: RouteRequest<
      B extends z.ZodType ? z.output<B> : undefined,
      Q extends z.ZodObject ? z.output<Q> : undefined,
      P extends z.ZodObject ? z.output<P> : undefined
    >,
  ) => Promise<RouteAnswer>;
}

/** A route with the types that its schemas give its handler; erased afterwards, since the server parses before it calls. */
export function route<
  B extends z.ZodType | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  P extends z.ZodObject | undefined = undefined,
>(definition: TypedRoute<B, Q, P>): Route {
  return {
    method: definition.method,
    path: definition.path,
    access: definition.access,
    idempotent: definition.idempotent ?? false,
    awaitsChain: definition.awaitsChain ?? false,
    body: definition.body,
    query: definition.query,
    params: definition.params,
    documentation: definition.documentation,
    // The server calls this with what the same schemas have parsed.
    handle: definition.handle as Route['handle'],
  };
}

export function json(status: number, document: unknown, headers: Readonly<Record<string, string>> = {}): RouteAnswer {
  return { status, body: JSON.stringify(document), headers };
}

import { InvalidInput, OperationalError } from '@settlement/kernel/errors';

/** JSON-RPC 2.0. */
export const PARSE_ERROR = -32_700;
export const INVALID_REQUEST = -32_600;
export const METHOD_NOT_FOUND = -32_601;
export const INVALID_PARAMS = -32_602;
export const INTERNAL_ERROR = -32_603;
/** EIP-1474: too many requests. */
export const LIMIT_EXCEEDED = -32_005;
/** EIP-1474: a dependency is away; the same request may succeed later. */
export const RESOURCE_UNAVAILABLE = -32_002;

/** A method's refusal, answered as it is. */
export class JsonRpcError extends Error {
  override readonly name = 'JsonRpcError';

  constructor(
    readonly code: number,
    message: string,
    /** For programs: SCREAMING_SNAKE reason and facts. */
    readonly data?: Readonly<Record<string, unknown>>,
  ) {
    super(message);
  }
}

export interface JsonRpcErrorBody {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * What a thrown error becomes on the wire. Texts of operational errors and of the unexpected stay in the log: they may quote a
 * connection string or a row.
 */
export function bodyOfError(error: unknown): JsonRpcErrorBody {
  if (error instanceof JsonRpcError) return { code: error.code, message: error.message, ...(error.data === undefined ? {} : { data: error.data }) };
  if (error instanceof InvalidInput) return { code: INVALID_PARAMS, message: error.message, data: { issues: error.issues } };
  if (error instanceof OperationalError) {
    return { code: RESOURCE_UNAVAILABLE, message: 'a part of this service is not reachable; the same request may be sent again', data: { reason: error.code, outcome: error.outcome } };
  }
  return { code: INTERNAL_ERROR, message: 'internal error' };
}

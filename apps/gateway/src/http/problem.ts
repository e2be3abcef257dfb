import { InvalidInput, InvariantViolated, OperationalError, type InputIssue } from '@settlement/kernel/errors';
import { isPassing } from '@settlement/feed/failure';
import { PROBLEMS, type ProblemCode } from './problem-codes';

/** RFC 9457, with `code` (stable), `errors` (what and where) and `facts` that a program can act on. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: ProblemCode;
  readonly errors?: readonly InputIssue[];
  readonly [fact: string]: unknown;
}

export interface ProblemFacts {
  readonly errors?: readonly InputIssue[];
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A no at the edge. Thrown by handlers and guards; the error handler answers it. Never thrown by a decider. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly errors: readonly InputIssue[] | undefined;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    readonly code: ProblemCode,
    readonly detail: string,
    { errors, facts = {}, headers = {} }: ProblemFacts = {},
  ) {
    super(`${code}: ${detail}`);
    this.errors = errors;
    this.facts = facts;
    this.headers = headers;
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }

  document(instance: string): ProblemDocument {
    return {
      type: problemType(this.code),
      title: PROBLEMS[this.code].title,
      status: this.status,
      detail: this.detail,
      instance,
      code: this.code,
      ...(this.errors === undefined ? {} : { errors: this.errors }),
      ...this.facts,
    };
  }
}

export function problemType(code: ProblemCode): string {
  return `/problems/${code.toLowerCase().replaceAll('_', '-')}`;
}

/** Problem about one field. */
export function fieldProblem(code: ProblemCode, path: string, message: string, facts: Readonly<Record<string, unknown>> = {}): Problem {
  return new Problem(code, `${path}: ${message}`, { errors: [{ path, message }], facts });
}

/** Every error that reaches the edge as a problem. What is not known here is our fault and says nothing of its inside. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof InvalidInput) return new Problem('INVALID_REQUEST', 'See errors for what is wrong and where.', { errors: error.issues });
  if (error instanceof OperationalError) return operational(error);
  if (error instanceof InvariantViolated) return new Problem('INTERNAL', 'The request was stopped to protect the record. It has been logged.');
  // The database itself, met outside the event store: look-ups and the webhook tables.
  if (isPassing(error)) return new Problem('STORE_UNAVAILABLE', 'The store did not answer in time. Repeat the request.');
  return framework(error) ?? new Problem('INTERNAL', 'The request failed for a reason of this service. It has been logged.');
}

function operational(error: OperationalError): Problem {
  if (error.code === 'STALE_EPOCH') return new Problem('STALE_EPOCH', 'Nothing was done. Repeat the request with the same Idempotency-Key.');
  if (error.outcome === 'unknown') {
    return new Problem('OUTCOME_UNKNOWN', 'The request may or may not have taken effect. Repeat it with the same Idempotency-Key: it takes effect once.');
  }
  return new Problem('STORE_UNAVAILABLE', 'Nothing was done. Repeat the request with the same Idempotency-Key.');
}

/** What Node's HTTP parser refuses, before there is a request. */
export function problemOfConnection(code: string | undefined): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('HEADERS_TOO_LARGE', 'Request line and header fields together may have at most 16384 bytes.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('REQUEST_TIMEOUT', 'The request did not arrive in time.');
    default:
      return new Problem('INVALID_REQUEST', 'These bytes are no HTTP request.', { errors: [{ path: '', message: 'malformed HTTP' }] });
  }
}

/** Fastify's own refusals, by their documented codes. */
function framework(error: unknown): Problem | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8.');
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Problem('BODY_TOO_LARGE', 'A body may have at most 65536 bytes.');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new Problem('INVALID_REQUEST', 'The body is not as long as Content-Length says.', {
        errors: [{ path: 'header.content-length', message: 'differs from the length of the body' }],
      });
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new Problem('MALFORMED_JSON', 'The body is empty.');
    case 'FST_ERR_BAD_URL':
      return new Problem('INVALID_REQUEST', 'The path holds a malformed percent-encoding.', { errors: [{ path: 'path', message: 'malformed percent-encoding' }] });
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new Problem('URI_TOO_LONG', 'An id in the path is longer than any id of this API.');
    default:
      // A refusal that is not known here is still the caller's to mend, not a failure of this service.
      return 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500 && String(error.code).startsWith('FST_ERR_')
        ? new Problem('INVALID_REQUEST', 'The request was refused before it was read.', { errors: [{ path: '', message: error.message }] })
        : undefined;
  }
}

import { Metadata, status as Status, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { InvalidInput, InvariantViolated, OperationalError, type InputIssue, type Outcome } from '@settlement/kernel/errors';

/** Trailing metadata: the SCREAMING_SNAKE code of what went wrong. */
export const CODE_KEY = 'settlement-code';
/** Trailing metadata: `not-done`, `done` or `unknown`. */
export const OUTCOME_KEY = 'settlement-outcome';
/** Trailing metadata: the issues of an invalid input as JSON in UTF-8. */
export const ISSUES_KEY = 'settlement-issues-bin';

/** Statuses with which a service says no for good. Repeating the same call gives the same answer. */
export type RefusalStatus =
  | Status.NOT_FOUND
  | Status.ALREADY_EXISTS
  | Status.FAILED_PRECONDITION
  | Status.PERMISSION_DENIED
  | Status.UNAUTHENTICATED
  | Status.OUT_OF_RANGE;

const REFUSALS: ReadonlySet<number> = new Set<RefusalStatus>([
  Status.NOT_FOUND,
  Status.ALREADY_EXISTS,
  Status.FAILED_PRECONDITION,
  Status.PERMISSION_DENIED,
  Status.UNAUTHENTICATED,
  Status.OUT_OF_RANGE,
]);

/**
 * A rejection at the edge of gRPC, for answers that a response message has no field for (nothing by that id, say). Nothing
 * was done. The server throws it, the client of the other side gets it again with the same code and status.
 */
export class RpcRefused extends Error {
  override readonly name = 'RpcRefused';

  constructor(
    /** SCREAMING_SNAKE. */
    readonly code: string,
    message: string,
    readonly status: RefusalStatus = Status.FAILED_PRECONDITION,
  ) {
    super(message);
  }
}

/**
 * What an exception of a handler becomes on the wire.
 *
 * | thrown                     | status              | code, outcome in the trailer          |
 * |----------------------------|---------------------|---------------------------------------|
 * | `InvalidInput`             | INVALID_ARGUMENT    | `INVALID_INPUT`, not-done, the issues |
 * | `RpcRefused`               | its own             | its own, not-done                     |
 * | `OperationalError` not-done| UNAVAILABLE         | its own                               |
 * | `OperationalError` other   | UNKNOWN             | its own                               |
 * | `InvariantViolated`        | INTERNAL            | its own, unknown                      |
 * | anything else              | INTERNAL            | `UNEXPECTED`, unknown                 |
 *
 * Messages of the last two, of causes and of operational errors stay in the log: they may quote a connection string or a row.
 */
export function statusOfError(error: unknown): Pick<StatusObject, 'code' | 'details' | 'metadata'> {
  if (error instanceof InvalidInput) {
    const metadata = trailer('INVALID_INPUT', 'not-done');
    metadata.set(ISSUES_KEY, Buffer.from(JSON.stringify(error.issues), 'utf8'));
    return { code: Status.INVALID_ARGUMENT, details: error.message, metadata };
  }
  if (error instanceof RpcRefused) {
    return { code: error.status, details: error.message, metadata: trailer(error.code, 'not-done') };
  }
  if (error instanceof OperationalError) {
    const code = error.outcome === 'not-done' ? Status.UNAVAILABLE : Status.UNKNOWN;
    return { code, details: `${error.code} (${error.outcome})`, metadata: trailer(error.code, error.outcome) };
  }
  if (error instanceof InvariantViolated) {
    return { code: Status.INTERNAL, details: `invariant ${error.code} violated`, metadata: trailer(error.code, 'unknown') };
  }
  return { code: Status.INTERNAL, details: 'unexpected error, see the log', metadata: trailer('UNEXPECTED', 'unknown') };
}

/** `call` names method and peer in the message. Total: every gRPC status becomes one of the four kinds of error. */
export function errorOfStatus(error: ServiceError, call: string): Error {
  const code = textOf(error.metadata, CODE_KEY);
  const outcome = parseOutcome(textOf(error.metadata, OUTCOME_KEY));
  const message = `${call}: ${error.details}`;
  if (error.code === Status.INVALID_ARGUMENT) return new InvalidInput(parseIssues(error.metadata, message));
  if (isRefusal(error.code)) return new RpcRefused(code ?? statusName(error.code), message, error.code);
  return new OperationalError(code ?? statusName(error.code), message, outcome ?? outcomeWithoutTrailer(error), { cause: error });
}

/**
 * A server that ends a connection (its age, a rollout) refuses the streams that crossed its GOAWAY on the wire, without having
 * looked at them: repeating such a call is no second call. grpc-js repeats it once by itself, and that one may be refused too,
 * since Node tells of the refused stream before it tells of the GOAWAY.
 */
export function wasRefusedUnread(error: OperationalError): boolean {
  const { cause } = error;
  if (typeof cause !== 'object' || cause === null || !('details' in cause) || !('code' in cause)) return false;
  return cause.code === Status.UNAVAILABLE && REFUSED_UNREAD.test(String(cause.details));
}

/** Texts of grpc-js 1.14, subchannel-call.ts (REFUSED_STREAM, RFC 9113, 8.7) and internal-channel.ts. */
const REFUSED_UNREAD = /^(Stream refused by server|Channel closed before call started)$/;

/**
 * Without a trailer the answer did not come from a handler. Only where the request certainly never reached one is the
 * outcome `not-done`; a connection lost after the request was sent leaves it unknown.
 */
function outcomeWithoutTrailer(error: ServiceError): Outcome {
  if (error.code === Status.UNIMPLEMENTED) return 'not-done';
  // Texts of grpc-js 1.14, load-balancer-*.ts and resolver-dns.ts: a call that never got a connection. A call that lost its
  // connection says "Connection dropped" or carries another RST_STREAM text.
  const neverSent = /^((round_robin: )?No connection established|Name resolution failed)/;
  if (error.code === Status.UNAVAILABLE && (neverSent.test(error.details) || REFUSED_UNREAD.test(error.details))) return 'not-done';
  return 'unknown';
}

function trailer(code: string, outcome: Outcome): Metadata {
  const metadata = new Metadata();
  metadata.set(CODE_KEY, code);
  metadata.set(OUTCOME_KEY, outcome);
  return metadata;
}

function textOf(metadata: Metadata | undefined, key: string): string | undefined {
  const [value] = metadata?.get(key) ?? [];
  return typeof value === 'string' ? value : undefined;
}

function parseOutcome(text: string | undefined): Outcome | undefined {
  return text === 'not-done' || text === 'done' || text === 'unknown' ? text : undefined;
}

function parseIssues(metadata: Metadata | undefined, fallback: string): readonly InputIssue[] {
  const [value] = metadata?.get(ISSUES_KEY) ?? [];
  if (!Buffer.isBuffer(value)) return [{ path: '', message: fallback }];
  const issues: unknown = JSON.parse(value.toString('utf8'));
  if (!Array.isArray(issues)) return [{ path: '', message: fallback }];
  return issues.flatMap((issue: unknown): InputIssue[] =>
    typeof issue === 'object' && issue !== null && 'path' in issue && 'message' in issue
      ? [{ path: String(issue.path), message: String(issue.message) }]
      : [],
  );
}

function isRefusal(code: Status): code is RefusalStatus {
  return REFUSALS.has(code);
}

function statusName(code: Status): string {
  return Status[code] ?? `STATUS_${String(code)}`;
}

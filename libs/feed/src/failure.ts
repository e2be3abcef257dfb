import { InvalidInput, InvariantViolated, OperationalError } from '@settlement/kernel/errors';

/**
 * SQLSTATE classes that say something about the server or about concurrency, never about the event in hand: connection,
 * transaction rollback (serialization, deadlock), resources, object state (lock timeout), operator intervention, system error.
 */
const PASSING_SQLSTATES = /^(08|40|53|55|57|58|25006)/;
const SOCKET_CODES = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/;

/**
 * Whether the failure lies in the surroundings, so that the same event may succeed later. Such a delivery is repeated for as
 * long as it takes and parks nothing: parking would set every stream aside during an outage. Everything else is taken to lie
 * in the event, or in what the consumer makes of it.
 */
export function isPassing(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof InvalidInput || at instanceof InvariantViolated) return false;
    const code = 'code' in at ? at.code : undefined;
    if (typeof code === 'string' && SOCKET_CODES.test(code)) return true;
    // What Postgres itself said decides over the wrapping: a constraint that the effect violates is wrapped as operational, too.
    if (typeof code === 'string' && 'severity' in at && /^[0-9A-Z]{5}$/.test(code)) return PASSING_SQLSTATES.test(code);
    // Words of pg for a connection that broke; it gives them no code.
    if (/Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect/.test(at.message)) return true;
  }
  return error instanceof OperationalError;
}

/** A code and a short message for lists and logs. */
export function describeFailure(error: unknown): { readonly code: string; readonly message: string } {
  if (!(error instanceof Error)) return { code: 'UNEXPECTED', message: String(error).slice(0, 500) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return { code, message: error.message.slice(0, 500) };
}

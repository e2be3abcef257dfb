/**
 * Every way that the API says no, in one table: the code is the contract, the status follows from it. RFC 9457's `type` is
 * `/problems/<code in lower-case-with-dashes>`. A code that is used but not listed here does not compile.
 */
export const PROBLEMS = {
  // The request itself
  MALFORMED_JSON: { status: 400, title: 'The body is not JSON' },
  INVALID_REQUEST: { status: 400, title: 'The request does not have the documented shape' },
  INVALID_CURSOR: { status: 400, title: 'The cursor was not issued by this API' },
  UNKNOWN_QUERY_PARAMETER: { status: 400, title: 'A query parameter is not known' },
  IDEMPOTENCY_KEY_MISSING: { status: 400, title: 'The Idempotency-Key header is required' },
  IDEMPOTENCY_KEY_INVALID: { status: 400, title: 'The Idempotency-Key header is malformed' },
  ROUTE_NOT_FOUND: { status: 404, title: 'There is nothing at this path' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'The path does not take this method' },
  REQUEST_TIMEOUT: { status: 408, title: 'The request did not arrive in time' },
  BODY_TOO_LARGE: { status: 413, title: 'The body is too large' },
  URI_TOO_LONG: { status: 414, title: 'A part of the path is too long' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The body must be application/json' },
  HEADERS_TOO_LARGE: { status: 431, title: 'The header fields are too large' },

  // Who asks
  API_KEY_MISSING: { status: 401, title: 'An API key is required' },
  API_KEY_INVALID: { status: 401, title: 'The API key is not valid' },
  ADMIN_TOKEN_INVALID: { status: 401, title: 'The administrator token is not valid' },
  SCOPE_MISSING: { status: 403, title: 'The API key lacks a scope' },
  RATE_LIMITED: { status: 429, title: 'Too many requests' },

  // Repetitions
  IDEMPOTENCY_KEY_IN_FLIGHT: { status: 409, title: 'A request with this Idempotency-Key is being processed' },
  IDEMPOTENCY_KEY_REUSED: { status: 422, title: 'This Idempotency-Key was used with another request' },

  // Merchants
  MERCHANT_NOT_FOUND: { status: 404, title: 'There is no such merchant' },
  MERCHANT_EXISTS: { status: 409, title: 'The merchant exists' },
  PAYOUT_ADDRESS_REFUSED: { status: 422, title: 'Payouts are not sent to this address' },
  API_KEY_NOT_FOUND: { status: 404, title: 'The merchant has no such API key' },
  API_KEY_LIMIT_REACHED: { status: 409, title: 'The merchant has too many live API keys' },

  // Payments
  PAYMENT_NOT_FOUND: { status: 404, title: 'There is no such payment' },
  REFERENCE_ALREADY_USED: { status: 409, title: 'The reference belongs to another payment' },
  PAYMENT_ALREADY_AUTHORIZED: { status: 409, title: 'The payment has an authorization already' },
  UNKNOWN_CHAIN: { status: 422, title: 'The chain is not served' },
  UNKNOWN_TOKEN: { status: 422, title: 'The token is not served on this chain' },
  MODE_MISMATCH: { status: 422, title: 'Test and live do not mix' },
  AMOUNT_ZERO: { status: 422, title: 'The amount must be positive' },
  AMOUNT_TOO_LARGE: { status: 422, title: 'The amount is above the limit' },
  AUTHORIZATION_WRONG_PAYER: { status: 422, title: 'The authorization is from another payer' },
  AUTHORIZATION_WRONG_RECIPIENT: { status: 422, title: 'The authorization pays somebody else' },
  AUTHORIZATION_WRONG_VALUE: { status: 422, title: 'The authorization is for another amount' },
  AUTHORIZATION_WRONG_NONCE: { status: 422, title: 'The authorization was signed for something else' },
  AUTHORIZATION_NONCE_REUSED: { status: 409, title: 'The authorization belongs to another payment' },
  AUTHORIZATION_EXPIRED: { status: 422, title: 'The authorization has expired' },
  AUTHORIZATION_EXPIRES_TOO_SOON: { status: 422, title: 'The authorization expires before it can be executed' },
  AUTHORIZATION_NOT_YET_VALID: { status: 422, title: 'The authorization is not valid yet' },
  SIGNATURE_INVALID: { status: 422, title: 'The signature is not the payer’s' },

  // Refunds
  REFUND_NOT_FOUND: { status: 404, title: 'There is no such refund' },
  PAYMENT_DISPUTED: { status: 409, title: 'The payment is disputed' },
  PAYMENT_NOT_COLLECTED: { status: 409, title: 'Only a collected payment can be refunded' },
  REFUND_EXCEEDS_PAYMENT: { status: 422, title: 'The refund is more than what is left of the payment' },
  NOTHING_TO_REFUND: { status: 422, title: 'Nothing of the payment is left to refund' },

  // Webhooks
  WEBHOOK_ENDPOINT_NOT_FOUND: { status: 404, title: 'There is no such webhook endpoint' },
  WEBHOOK_DELIVERY_NOT_FOUND: { status: 404, title: 'There is no such webhook delivery' },
  WEBHOOK_ENDPOINT_LIMIT_REACHED: { status: 409, title: 'The merchant has too many webhook endpoints' },
  WEBHOOK_URL_REFUSED: { status: 422, title: 'Webhooks are not sent to this address' },

  // This system
  CONCURRENT_CHANGE: { status: 409, title: 'The resource kept changing meanwhile' },
  CONTRADICTS_RECORD: { status: 500, title: 'The record contradicts itself' },
  INTERNAL: { status: 500, title: 'Something is wrong here' },
  OUTCOME_UNKNOWN: { status: 503, title: 'It is not known whether the request took effect' },
  STALE_EPOCH: { status: 503, title: 'Another region has taken over' },
  STORE_UNAVAILABLE: { status: 503, title: 'The store does not answer' },
  CHAIN_UNAVAILABLE: { status: 503, title: 'The chain does not answer' },
  PEER_UNAVAILABLE: { status: 503, title: 'A part of the system does not answer' },
  SHUTTING_DOWN: { status: 503, title: 'This process is stopping' },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** Statuses after which the same request with the same key may succeed. */
export const RETRY_AFTER_SECONDS: Partial<Record<ProblemCode, number>> = {
  IDEMPOTENCY_KEY_IN_FLIGHT: 1,
  OUTCOME_UNKNOWN: 1,
  STORE_UNAVAILABLE: 2,
  CHAIN_UNAVAILABLE: 2,
  PEER_UNAVAILABLE: 2,
  STALE_EPOCH: 5,
  SHUTTING_DOWN: 1,
};

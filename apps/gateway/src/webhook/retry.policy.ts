export interface RetryPolicy {
  /** Pauses before the second and later tries. */
  readonly scheduleSeconds: readonly number[];
}

export type AfterTry =
  | { readonly next: 'none'; readonly status: 'succeeded' | 'exhausted'; readonly disableEndpoint: boolean }
  | { readonly next: 'retry'; readonly pauseMs: number };

/**
 * What follows a try. 2xx is success. 410 is the receiver's word that nobody listens any more: the endpoint is switched off
 * (Standard Webhooks). Everything else, redirects included, is tried again along the schedule, up to a fifth later than it
 * says, so that receivers that come back are not met by all at once.
 */
export function afterTry(httpStatus: number, tries: number, jitter: number, { scheduleSeconds }: RetryPolicy): AfterTry {
  if (httpStatus >= 200 && httpStatus < 300) return { next: 'none', status: 'succeeded', disableEndpoint: false };
  if (httpStatus === 410) return { next: 'none', status: 'exhausted', disableEndpoint: true };
  const pauseSeconds = scheduleSeconds[tries - 1];
  if (pauseSeconds === undefined) return { next: 'none', status: 'exhausted', disableEndpoint: false };
  return { next: 'retry', pauseMs: Math.round(pauseSeconds * 1_000 * (1 + jitter / 5)) };
}

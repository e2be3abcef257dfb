import { context, isSpanContextValid, ROOT_CONTEXT, trace, TraceFlags, type Context, type Span } from '@opentelemetry/api';

const PATTERN = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * The context below which a span becomes a child of the remote span that a W3C `traceparent` names. An empty or malformed
 * one starts a new trace: what comes over a wire never breaks a call. Written by hand because the propagator that the API
 * offers does nothing until an SDK is registered, and records must carry their origin in tests and tools as well.
 */
export function contextOfTraceparent(traceparent: string, parent: Context = ROOT_CONTEXT): Context {
  const match = PATTERN.exec(traceparent);
  const [, traceId = '', spanId = '', flags = '00'] = match ?? [];
  const spanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
  return match !== null && isSpanContextValid(spanContext) ? trace.setSpanContext(parent, spanContext) : parent;
}

/** The `traceparent` of a span; empty when the span is not recorded by anything. */
export function traceparentOfSpan(span: Span | undefined): string {
  const spanContext = span?.spanContext();
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return '';
  return `00-${spanContext.traceId}-${spanContext.spanId}-${spanContext.traceFlags.toString(16).padStart(2, '0')}`;
}

/** The `traceparent` of the span that is active here; empty when there is none. */
export function activeTraceparent(): string {
  return traceparentOfSpan(trace.getSpan(context.active()));
}

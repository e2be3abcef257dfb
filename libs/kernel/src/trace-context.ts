/**
 * W3C Trace Context `traceparent` of the span that caused something. Carried by gRPC metadata, event metadata and Kafka
 * headers; empty when there is none.
 */
export interface TraceContext {
  readonly traceparent: string;
}

export const NO_TRACE: TraceContext = { traceparent: '' };

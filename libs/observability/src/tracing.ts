import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Attributes, type Context, type Span } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { JsonLinesSpanExporter } from './json-lines-span-exporter';

export interface TracingOptions {
  readonly service: string;
  readonly region: string;
  /** Spans as JSON lines, for tests and the sandbox. */
  readonly traceFile?: string | undefined;
  /** Base URL of an OTLP/HTTP collector. */
  readonly otlpEndpoint?: string | undefined;
  /** Share of new traces that are recorded, 0 to 1. */
  readonly sampleRatio?: number;
}

export interface Tracing {
  /** Sends what is buffered and stops. */
  shutdown(): Promise<void>;
}

/** Registers the process's tracer. Without a file or an endpoint no span is recorded, but trace context still travels. */
export function startTracing(options: TracingOptions): Tracing {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const exporters: SpanExporter[] = [];
  if (options.traceFile !== undefined) exporters.push(new JsonLinesSpanExporter(options.service, options.traceFile));
  if (options.otlpEndpoint !== undefined) {
    exporters.push(new OTLPTraceExporter({ url: `${options.otlpEndpoint.replace(/\/$/, '')}/v1/traces` }));
  }
  if (exporters.length === 0) {
    const manager = new AsyncLocalStorageContextManager();
    context.setGlobalContextManager(manager.enable());
    return { shutdown: () => Promise.resolve() };
  }
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': options.service, 'cloud.region': options.region }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.sampleRatio ?? 1) }),
    spanProcessors: exporters.map((exporter) => new BatchSpanProcessor(exporter, { scheduledDelayMillis: 500, maxQueueSize: 20_000 })),
  });
  provider.register();
  return { shutdown: () => provider.shutdown() };
}

/** The context that a W3C `traceparent` names; the root context for an empty or malformed one. */
export function contextOf(traceparent: string): Context {
  return traceparent === '' ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, { traceparent });
}

/** The active span as a W3C `traceparent`, empty when there is none. */
export function currentTraceparent(): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? '';
}

/** Runs `work` in a span below `parent` (a traceparent; absent: below the active span). An exception marks the span and goes on. */
export async function inSpan<T>(
  name: string,
  options: { readonly parent?: string; readonly kind?: SpanKind; readonly attributes?: Attributes },
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const parent = options.parent === undefined ? context.active() : contextOf(options.parent);
  const span = trace
    .getTracer('settlement')
    .startSpan(name, { kind: options.kind ?? SpanKind.INTERNAL, ...(options.attributes && { attributes: options.attributes }) }, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    span.end();
  }
}

/**
 * Records a span that already happened, such as one payment's share of a batch: work is done for many payments at once, and
 * each payment's trace shows its part. Returns the span's traceparent.
 */
export function recordSpan(
  name: string,
  options: { readonly parent: string; readonly startMs: number; readonly endMs: number; readonly kind?: SpanKind; readonly attributes?: Attributes },
): string {
  if (options.parent === '') return '';
  const parent = contextOf(options.parent);
  const span = trace.getTracer('settlement').startSpan(
    name,
    { kind: options.kind ?? SpanKind.INTERNAL, startTime: options.startMs, ...(options.attributes && { attributes: options.attributes }) },
    parent,
  );
  span.end(options.endMs);
  const carrier: { traceparent?: string } = {};
  propagation.inject(trace.setSpan(parent, span), carrier);
  return carrier.traceparent ?? options.parent;
}

import { context, propagation, SpanKind, trace, type Attributes } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { JsonLinesSpanExporter } from './json-lines-span-exporter';
import { contextOfTraceparent, traceparentOfSpan } from './traceparent';

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

/**
 * Records a span that already happened, such as one payment's share of a batch: work is done for many payments at once, and
 * each payment's trace shows its part. Returns the span's traceparent.
 */
export function recordSpan(
  name: string,
  options: { readonly parent: string; readonly startMs: number; readonly endMs: number; readonly kind?: SpanKind; readonly attributes?: Attributes },
): string {
  if (options.parent === '') return '';
  const parent = contextOfTraceparent(options.parent);
  const span = trace.getTracer('settlement').startSpan(
    name,
    { kind: options.kind ?? SpanKind.INTERNAL, startTime: options.startMs, ...(options.attributes && { attributes: options.attributes }) },
    parent,
  );
  span.end(options.endMs);
  return traceparentOfSpan(span) || options.parent;
}

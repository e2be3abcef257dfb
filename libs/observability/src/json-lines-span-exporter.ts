import { appendFile } from 'node:fs';
import { ExportResultCode, hrTimeToMilliseconds, type ExportResult } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';

/** One span a line: service, name, trace, span, parent, start and end in Unix milliseconds, attributes. */
export class JsonLinesSpanExporter implements SpanExporter {
  constructor(
    private readonly service: string,
    private readonly file: string,
  ) {}

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const lines = spans.map((span) =>
      JSON.stringify({
        service: this.service,
        name: span.name,
        kind: span.kind,
        traceId: span.spanContext().traceId,
        spanId: span.spanContext().spanId,
        parentSpanId: span.parentSpanContext?.spanId ?? '',
        startMs: hrTimeToMilliseconds(span.startTime),
        endMs: hrTimeToMilliseconds(span.endTime),
        attributes: span.attributes,
        error: span.status.message,
      }),
    );
    appendFile(this.file, `${lines.join('\n')}\n`, (error) => {
      done(error === null ? { code: ExportResultCode.SUCCESS } : { code: ExportResultCode.FAILED, error });
    });
  }

  shutdown(): Promise<void> {
    return Promise.resolve();
  }
}

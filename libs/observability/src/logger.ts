import { context, trace } from '@opentelemetry/api';
import { pino, type Logger } from 'pino';

export type { Logger } from 'pino';

/** Field names whose values never reach a log line, at any depth that services log at. */
const secretFields = ['authorization', 'secret', 'password', 'apiKey', 'privateKey', 'adminToken', 'raw', 'signature', 'name'];

export interface LoggerOptions {
  readonly service: string;
  readonly region: string;
  readonly epoch: bigint;
  readonly level: string;
}

/** JSON lines on standard output with service, region, epoch and, inside a span, its trace; secrets are removed. */
export function createLogger(options: LoggerOptions, destination?: NodeJS.WritableStream): Logger {
  return pino(
    {
      level: options.level,
      base: { service: options.service, region: options.region, epoch: options.epoch.toString() },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: '[removed]' },
      serializers: { err: pino.stdSerializers.err },
      mixin() {
        const span = trace.getSpanContext(context.active());
        return span === undefined ? {} : { trace_id: span.traceId, span_id: span.spanId };
      },
    },
    ...(destination === undefined ? [] : [destination]),
  );
}

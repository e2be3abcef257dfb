import { context, trace } from '@opentelemetry/api';
import { pino, type Bindings, type ChildLoggerOptions, type Logger } from 'pino';
import { activePayment } from './payment-context';
import { fieldsWithoutSecrets } from './without-secrets';

export type { Logger } from 'pino';

export interface LoggerOptions {
  readonly service: string;
  readonly region: string;
  readonly epoch: bigint;
  readonly level: string;
}

/**
 * JSON lines on standard output with service, region, epoch and, inside a span, its trace, inside `withPayment` the payment;
 * secrets are removed.
 */
export function createLogger(options: LoggerOptions, destination?: NodeJS.WritableStream): Logger {
  const logger = pino(
    {
      level: options.level,
      base: { service: options.service, region: options.region, epoch: options.epoch.toString() },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: fieldsWithoutSecrets },
      // `fieldsWithoutSecrets` has made a plain object of it already; pino would take that for another error.
      serializers: { err: (error: unknown) => error },
      mixin() {
        const span = trace.getSpanContext(context.active());
        const payment = activePayment();
        return { ...(span && { trace_id: span.traceId, span_id: span.spanId }), ...(payment !== undefined && { payment }) };
      },
    },
    ...(destination === undefined ? [] : [destination]),
  );
  // pino does not hand a child's own fields to the formatter above. Children inherit this from their parent.
  const child: (this: Logger, fields: Bindings, options?: ChildLoggerOptions) => Logger = logger.child;
  Object.defineProperty(logger, 'child', {
    value(this: Logger, fields: Bindings, options?: ChildLoggerOptions): Logger {
      return child.call(this, fieldsWithoutSecrets(fields), options);
    },
  });
  return logger;
}

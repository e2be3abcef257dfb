import { context, ROOT_CONTEXT, trace, type SpanContext } from '@opentelemetry/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { activeTraceparent, contextOfTraceparent, traceparentOfSpan } from './traceparent';

const hex = (digits: number) =>
  fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: digits, maxLength: digits }).map((all) => all.join('')).filter((text) => !/^0+$/.test(text));

function read(traceparent: string): SpanContext | undefined {
  return trace.getSpanContext(contextOfTraceparent(traceparent));
}

describe('traceparent', () => {
  it('goes over a wire and comes back as it was', () => {
    fc.assert(
      fc.property(hex(32), hex(16), fc.constantFrom('00', '01'), (traceId, spanId, flags) => {
        const traceparent = `00-${traceId}-${spanId}-${flags}`;
        const parent = contextOfTraceparent(traceparent);
        expect(traceparentOfSpan(trace.getSpan(parent))).toBe(traceparent);
      }),
    );
  });

  // The example of W3C Trace Context, section 3.2.3.
  it('names trace, span and whether it is recorded', () => {
    expect(read('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')).toEqual({
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', traceFlags: 1, isRemote: true,
    });
  });

  it('keeps of the flags only the one that is defined', () => {
    expect(read('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff')?.traceFlags).toBe(1);
  });

  it.each([
    '', 'garbage', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7', '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01',
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, `00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`, 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    ' 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n',
  ])('%j starts a new trace and breaks nothing', (text) => {
    expect(contextOfTraceparent(text)).toBe(ROOT_CONTEXT);
  });

  it('whatever text comes, nothing is thrown', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(contextOfTraceparent(text)).toBeDefined();
      }),
    );
  });

  it('of nothing is empty', () => {
    expect(traceparentOfSpan(undefined)).toBe('');
    expect(traceparentOfSpan(trace.wrapSpanContext({ traceId: '0'.repeat(32), spanId: '0'.repeat(16), traceFlags: 0 }))).toBe('');
    expect(context.with(ROOT_CONTEXT, activeTraceparent)).toBe('');
  });
});

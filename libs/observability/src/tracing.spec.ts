import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { context, propagation, SpanStatusCode, trace } from '@opentelemetry/api';
import { afterEach, describe, expect, it } from 'vitest';
import { activeTraceparent, contextOfTraceparent } from './traceparent';
import { recordSpan, startTracing } from './tracing';

const remote = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const folder = mkdtempSync(join(tmpdir(), 'settlement-tracing-'));

afterEach(() => {
  trace.disable();
  context.disable();
  propagation.disable();
  rmSync(folder, { recursive: true, force: true });
});

interface Line { readonly name: string; readonly service: string; readonly traceId: string; readonly spanId: string; readonly parentSpanId: string; readonly startMs: number; readonly endMs: number; readonly error?: string; readonly attributes: object }

describe('tracing', () => {
  it('writes one line a span: who, what, below whom, from when to when', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'settlement-tracing-')), 'spans.jsonl');
    const tracing = startTracing({ service: 'gateway', region: 'local', traceFile: file });
    const outer = trace.getTracer('spec').startSpan('POST /v1/payments', { attributes: { payment: 'pay_1' } }, contextOfTraceparent(remote));
    context.with(trace.setSpan(context.active(), outer), () => {
      const inner = trace.getTracer('spec').startSpan('screen');
      inner.setStatus({ code: SpanStatusCode.ERROR, message: 'no list' });
      inner.end();
    });
    outer.end();
    const recorded = recordSpan('relayer.queue', { parent: remote, startMs: 1_700_000_000_000, endMs: 1_700_000_000_250 });
    expect(recordSpan('untraced', { parent: '', startMs: 1, endMs: 2 })).toBe('');
    await tracing.shutdown();
    const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Line);
    rmSync(join(file, '..'), { recursive: true });
    const line = (name: string) => lines.find((each) => each.name === name);
    expect(lines.map((each) => each.name).sort()).toEqual(['POST /v1/payments', 'relayer.queue', 'screen']);
    expect(new Set(lines.map((each) => each.traceId))).toEqual(new Set(['4bf92f3577b34da6a3ce929d0e0e4736']));
    expect(line('POST /v1/payments')).toMatchObject({ service: 'gateway', parentSpanId: '00f067aa0ba902b7', attributes: { payment: 'pay_1' } });
    expect(line('screen')).toMatchObject({ parentSpanId: outer.spanContext().spanId, error: 'no list' });
    expect(line('relayer.queue')).toMatchObject({ startMs: 1_700_000_000_000, endMs: 1_700_000_000_250, parentSpanId: '00f067aa0ba902b7' });
    expect(recorded).toBe(`00-4bf92f3577b34da6a3ce929d0e0e4736-${line('relayer.queue')?.spanId}-01`);
  });

  it('without a place for spans still passes the trace on', () => {
    startTracing({ service: 'gateway', region: 'local' });
    expect(context.with(contextOfTraceparent(remote), activeTraceparent)).toBe(remote);
    expect(context.with(contextOfTraceparent('garbage'), activeTraceparent)).toBe('');
  });
});

import { Writable } from 'node:stream';
import { context, ROOT_CONTEXT, trace, TraceFlags } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OperationalError } from '@settlement/kernel/errors';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from './logger';
import { withPayment } from './payment-context';

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});
afterAll(() => context.disable());

/** A logger and the lines that it wrote. */
function capture(level = 'trace') {
  const text: string[] = [];
  const destination = new Writable({ write: (chunk: Buffer, _encoding, done) => { text.push(chunk.toString()); done(); } });
  const logger = createLogger({ service: 'relayer', region: 'eu-west-1', epoch: 7n, level }, destination);
  return { logger, text, lines: () => text.map((line): unknown => JSON.parse(line)) };
}

describe('a log line', () => {
  it('says which service wrote it, in which region and epoch, when, and how grave it is', () => {
    const { logger, lines } = capture();
    logger.warn({ lane: 'a' }, 'lane is late');
    expect(lines()).toEqual([{ level: 'warn', time: expect.stringMatching(/^\d{4}-.*Z$/), service: 'relayer', region: 'eu-west-1', epoch: '7', lane: 'a', msg: 'lane is late' }]);
  });

  it('below the level is not written', () => {
    const { logger, text } = capture('warn');
    logger.info('quiet');
    expect(text).toEqual([]);
  });

  it('inside a span carries its trace, outside none', () => {
    const { logger, lines } = capture();
    const span = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED };
    context.with(trace.setSpanContext(ROOT_CONTEXT, span), () => logger.info('in'));
    logger.info('out');
    expect(lines()[0]).toMatchObject({ trace_id: span.traceId, span_id: span.spanId });
    expect(lines()[1]).not.toHaveProperty('trace_id');
  });

  it('inside the work for a payment carries its id, also after an await, and not that of its neighbour', async () => {
    const { logger, lines } = capture();
    const work = (id: string) => withPayment(id, async () => { await Promise.resolve(); logger.info(`for ${id}`); });
    await Promise.all([work('pay_a'), work('pay_b')]);
    logger.info('for none');
    expect(lines()).toEqual([
      expect.objectContaining({ payment: 'pay_a', msg: 'for pay_a' }),
      expect.objectContaining({ payment: 'pay_b', msg: 'for pay_b' }),
      expect.not.objectContaining({ payment: expect.anything() }),
    ]);
  });

  it('of an error keeps code, outcome, cause and stack', () => {
    const { logger, text, lines } = capture();
    logger.error({ err: new OperationalError('NODE_GONE', 'hung up', 'unknown', { cause: new Error('ECONNRESET') }) }, 'broadcast failed');
    expect(lines()[0]).toMatchObject({ err: { type: 'OperationalError', code: 'NODE_GONE', outcome: 'unknown', stack: expect.stringContaining('logger.spec') } });
    expect(text[0]).toContain('ECONNRESET');
  });
});

describe('secrets', () => {
  const secret = 'hunter2';
  const fields = ['authorization', 'Authorization', 'x-api-key', 'secret', 'password', 'apiKey', 'privateKey', 'adminToken', 'raw', 'signature', 'name', 'DATABASE_URL', 'RELAYER_KEYS', 'SECRETS_KEY', 'ADMIN_TOKEN', 'PARTIES_DIGEST_KEYS', 'rpcUrls', 'webhookSecret', 'connectionString'];

  it.each(fields)('in the field %s are removed, in whatever object or list they stand', (field) => {
    const { logger, text } = capture();
    logger.info({ [field]: secret, request: { [field]: secret, headers: { [field]: secret }, parties: [{ [field]: secret, deeper: [{ [field]: [secret] }] }] }, items: [{ [field]: { x: secret } }] }, 'seen');
    expect(text[0]).not.toContain(secret);
    expect(text[0]).toContain('[removed]');
  });

  it('are removed wherever they stand', () => {
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.bigInt());
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ maxDepth: 5 }, leaf, fc.array(tie('tree'), { maxLength: 3 }), fc.dictionary(fc.constantFrom('a', 'b', 'request', 'items'), tie('tree'), { maxKeys: 3 }), fc.record({ secret: fc.constant(secret) })),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const { logger, text } = capture();
        logger.info({ value }, 'seen');
        expect(text).toHaveLength(1);
        expect(text[0]).not.toContain(secret);
      }),
    );
  });

  it.each(fields)('in the field %s of a child logger are removed as well', (field) => {
    const { logger, text } = capture();
    logger.child({ [field]: secret }).info('seen');
    logger.child({ lane: 'a' }).child({ caller: { [field]: secret } }).info('seen');
    expect(text.join('')).not.toContain(secret);
    expect(text).toHaveLength(2);
  });

  // An error is called by its own `name`, which is part of its stack as well.
  it.each(fields.filter((field) => field !== 'name'))('in the field %s of an error and of its cause are removed', (field) => {
    const { logger, text } = capture();
    const cause = Object.assign(new Error('below'), { [field]: secret });
    logger.error({ err: Object.assign(new Error('refused', { cause }), { [field]: secret, config: { [field]: secret } }) }, 'seen');
    logger.error(Object.assign(new Error('bare'), { [field]: secret }));
    expect(text.join('')).not.toContain(secret);
    expect(text).toHaveLength(2);
  });

  it('inside an address lose the password and keep the place', () => {
    const { logger, lines } = capture();
    logger.error({ url: 'postgres://gateway:hunter2@db:5432/gateway', err: new Error('cannot reach postgres://gateway:hunter2@db:5432/gateway') }, 'seen');
    expect(lines()[0]).toMatchObject({ url: 'postgres://gateway:[removed]@db:5432/gateway', err: { message: 'cannot reach postgres://gateway:[removed]@db:5432/gateway' } });
  });

  it('what is no secret stays', () => {
    const { logger, lines } = capture();
    const written = { merchant: 'mer_1', nested: { amount: '5', token: 'USDC' }, list: [1, null, true], at: new Date(0) };
    logger.info(written, 'seen');
    expect(lines()[0]).toMatchObject({ ...written, at: '1970-01-01T00:00:00.000Z' });
  });

  it('bytes are counted and a cycle ends', () => {
    const { logger, lines } = capture();
    const ring: { self?: unknown } = {};
    ring.self = ring;
    logger.info({ signed: new Uint8Array(110), ring }, 'seen');
    expect(lines()[0]).toMatchObject({ signed: '[110 bytes]' });
  });

  it('an object that is logged is not changed by it', () => {
    const { logger } = capture();
    const request = { headers: { authorization: secret } };
    logger.info({ request }, 'seen');
    expect(request.headers.authorization).toBe(secret);
  });
});

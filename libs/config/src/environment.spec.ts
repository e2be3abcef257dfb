import { InvalidInput } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { flagVariable, jsonVariable, parseEnvironment, peerAddress, weiVariable, type Environment } from './environment';
import { serviceSchema, serviceVariables } from './service-config';

function issuesOf(schema: z.ZodObject, environment: Environment): readonly { path: string; message: string }[] {
  try {
    parseEnvironment(schema, environment);
  } catch (error) {
    if (error instanceof InvalidInput) return error.issues;
    throw error;
  }
  return [];
}

const minimal = { DATABASE_URL: 'postgres://localhost/gateway' };

describe('a service’s environment', () => {
  it('needs nothing but a database', () => {
    expect(parseEnvironment(serviceSchema, minimal)).toMatchObject({
      REGION: 'local', EPOCH: 1n, LOG_LEVEL: 'info', OPS_HOST: '127.0.0.1', OPS_PORT: 0, GRPC_PORT: 0, PARTITIONS: 4, FEED: 'postgres', SHUTDOWN_TIMEOUT_MS: 10_000,
    });
  });

  it('reads every variable', () => {
    const map = [{ partitions: [0, 1], url: 'postgres://a/x' }, { partitions: [2, 3], url: 'postgres://b/x' }];
    expect(
      parseEnvironment(serviceSchema, {
        ...minimal, REGION: 'eu-west-1', EPOCH: '9007199254740993', PARTITIONS: '16', FEED: 'kafka', KAFKA_BROKERS: 'one:9092, two:9092',
        PARTITION_MAP: JSON.stringify(map), FEED_DATABASES: '{"gateway":"postgres://reader@b/gateway"}',
      }),
    ).toMatchObject({
      REGION: 'eu-west-1', EPOCH: 9_007_199_254_740_993n, PARTITIONS: 16, FEED: 'kafka', KAFKA_BROKERS: ['one:9092', 'two:9092'], PARTITION_MAP: map,
      FEED_DATABASES: { gateway: 'postgres://reader@b/gateway' },
    });
  });

  it('takes an empty variable for an absent one, as an unset value in a manifest arrives', () => {
    expect(parseEnvironment(serviceSchema, { ...minimal, REGION: '', OPS_PORT: '' })).toMatchObject({ REGION: 'local', OPS_PORT: 0 });
  });

  it('ignores what is not its own', () => {
    expect(parseEnvironment(serviceSchema, { ...minimal, HOME: '/root' })).not.toHaveProperty('HOME');
  });

  it('tells every problem at once', () => {
    const issues = issuesOf(serviceSchema, { REGION: 'EU', EPOCH: 'first', OPS_PORT: '70000', PARTITIONS: '0', FEED: 'rabbit', FEED_DATABASES: '{', LOG_LEVEL: 'loud' });
    expect(issues.map((issue) => issue.path).sort()).toEqual(['DATABASE_URL', 'EPOCH', 'FEED', 'FEED_DATABASES', 'LOG_LEVEL', 'OPS_PORT', 'PARTITIONS', 'REGION']);
    expect(issues.find((issue) => issue.path === 'DATABASE_URL')?.message).toMatch(/^is missing/);
    expect(issues.find((issue) => issue.path === 'FEED_DATABASES')?.message).toBe('expected JSON');
  });

  it('needs brokers for Kafka only, and says so together with everything else', () => {
    expect(parseEnvironment(serviceSchema, { ...minimal, FEED: 'postgres' }).KAFKA_BROKERS).toBeUndefined();
    expect(issuesOf(serviceSchema, { ...minimal, FEED: 'kafka' })).toEqual([{ path: 'KAFKA_BROKERS', message: 'is missing (needed with FEED=kafka)' }]);
    expect(issuesOf(serviceSchema, { FEED: 'kafka', EPOCH: 'x' }).map((issue) => issue.path)).toEqual(['EPOCH', 'DATABASE_URL', 'KAFKA_BROKERS']);
  });

  it.each([
    ['EPOCH', '0'], ['EPOCH', '-1'], ['EPOCH', '1.5'], ['PARTITIONS', '4.5'], ['PARTITIONS', '1025'], ['PARTITIONS', 'four'], ['OPS_PORT', '-1'], ['DATABASE_URL', 'mysql://x/y'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector'], ['PARTITION_MAP', '[]'], ['PARTITION_MAP', '[{"partitions":[],"url":"x"}]'], ['REGION', 'Region_1'],
  ])('refuses %s=%s and names it', (name, value) => {
    expect(issuesOf(serviceSchema, { ...minimal, [name]: value }).map((issue) => issue.path.split('.')[0])).toEqual([name]);
  });

  it('never repeats a value, whichever variable it was put into by mistake', () => {
    const secret = 'hunter2-0x4c0883a69102937d6231471b5dbb6204fe512961708279';
    const planted = [secret, JSON.stringify(secret), JSON.stringify({ [secret.slice(0, 3)]: 1, url: secret }), JSON.stringify([secret]), JSON.stringify([{ partitions: secret, url: 7 }])];
    for (const name of Object.keys(serviceVariables)) {
      for (const value of planted) {
        for (const issue of issuesOf(serviceSchema, { [name]: value })) expect(`${issue.path} ${issue.message}`).not.toContain(secret);
      }
    }
  });
});

describe('kinds of variables', () => {
  const schema = z.object({ COST: weiVariable, ON: flagVariable, PEER: peerAddress, LIST: jsonVariable(z.array(z.strictObject({ n: z.number() }))) });
  const good = { COST: '1000000000000000000000000', ON: 'true', PEER: 'relayer.svc:50051', LIST: '[{"n":1}]' };

  it('wei are exact, a flag is true or false, a peer has a port', () => {
    expect(parseEnvironment(schema, good)).toEqual({ COST: 10n ** 24n, ON: true, PEER: 'relayer.svc:50051', LIST: [{ n: 1 }] });
    expect(parseEnvironment(schema, { ...good, ON: 'false' }).ON).toBe(false);
  });

  it.each([['COST', '1e18'], ['COST', '-1'], ['COST', '01'], ['ON', 'yes'], ['ON', '1'], ['PEER', 'relayer'], ['PEER', 'http://relayer:1'], ['PEER', 'relayer:']])('refuses %s=%s', (name, value) => {
    expect(issuesOf(schema, { ...good, [name]: value }).map((issue) => issue.path)).toEqual([name]);
  });

  it('a document in a variable tells every place that is wrong', () => {
    expect(issuesOf(schema, { ...good, LIST: '[{"n":"x"},{"n":1},{"m":2}]' }).map((issue) => issue.path)).toEqual(['LIST.0.n', 'LIST.2.n', 'LIST.2']);
  });
});

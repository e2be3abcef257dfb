import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { passes, reasonOf } from './schema';

const ofPostgres = (code: string): Error => Object.assign(new Error(`said with ${code}`), { code, severity: 'FATAL' });
const ofNode = (code: string): Error => Object.assign(new Error(code), { code });
const wrapped = (cause: unknown): OperationalError => new OperationalError('DATABASE_UNREACHABLE', 'cannot migrate', 'not-done', { cause });

describe('what a migration may wait for', () => {
  it.each([
    ['a refused connection', wrapped(ofNode('ECONNREFUSED'))],
    ['a name that does not resolve yet', wrapped(ofNode('ENOTFOUND'))],
    ['a server that starts', wrapped(ofPostgres('57P03'))],
    ['a role that an operator is still making', wrapped(ofPostgres('28000'))],
    ['a database that an operator is still making', wrapped(ofPostgres('3D000'))],
    ['a standby', wrapped(ofPostgres('25006'))],
    ['a table in use', wrapped(ofPostgres('55P03'))],
    ['too many connections', wrapped(ofPostgres('53300'))],
    ['a connection that broke', wrapped(new Error('Connection terminated unexpectedly'))],
  ])('%s passes', (_what, error) => {
    expect(passes(error)).toBe(true);
  });

  it.each([
    ['a role without the right to create', wrapped(ofPostgres('42501'))],
    ['a step that is wrong', wrapped(ofPostgres('42601'))],
    ['rows that do not fit', wrapped(ofPostgres('23505'))],
    ['another log', new InvariantViolated('LOG_MISMATCH', 'another log')],
    ['a defect', new TypeError('undefined is not a function')],
  ])('%s does not', (_what, error) => {
    expect(passes(error)).toBe(false);
  });

  it('is told by its innermost reason, also where several addresses were tried', () => {
    expect(reasonOf(wrapped(new Error('connect ECONNREFUSED 10.0.0.1:5432')))).toBe('connect ECONNREFUSED 10.0.0.1:5432');
    expect(reasonOf(wrapped(new AggregateError([new Error('first'), new Error('second')], '')))).toBe('first; second');
  });
});

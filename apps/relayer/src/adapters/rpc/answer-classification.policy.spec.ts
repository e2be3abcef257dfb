import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BroadcastOutcome } from '../../ports/broadcaster';
import { classify, mergeOutcomes, WORDINGS } from './answer-classification.policy';
import { recordedAnswers } from './fixtures/recorded-answers';

const error = (message: string, code = -32_000): BroadcastOutcome => classify({ kind: 'error', code, message });

describe('what a node answers to a broadcast', () => {
  it.each(recordedAnswers().map((it) => [it.client, it.message ?? 'a transaction hash', it.outcome, it] as const))('%s: %s is %s', (_client, _message, _outcome, recorded) => {
    const outcome = recorded.message === null ? classify({ kind: 'result' }) : error(recorded.message, recorded.code ?? 0);
    expect({ outcome: outcome.outcome, reason: outcome.outcome === 'refused' ? outcome.reason : undefined }).toEqual({ outcome: recorded.outcome, reason: recorded.reason });
  });

  it('has recorded answers of six clients', () => {
    expect(new Set(recordedAnswers().map((it) => it.client))).toEqual(new Set(['geth', 'reth', 'erigon', 'nethermind', 'besu', 'anvil']));
  });

  it('names a source for each wording', () => {
    expect(WORDINGS.filter((it) => it.source === '' || it.clients.length === 0 || it.text !== it.text.toLowerCase())).toEqual([]);
    expect(new Set(WORDINGS.map((it) => it.text)).size).toBe(WORDINGS.length);
  });

  it('calls any other text unknown, never refused and never taken', () => {
    const starts = (text: string): boolean => WORDINGS.some((it) => text.toLowerCase().replace(/^[a-z_]+: /, '').trim().startsWith(it.text));
    fc.assert(
      fc.property(fc.string({ maxLength: 120 }).filter((text) => !starts(text)), fc.integer({ min: -40_000, max: 5_000 }), (message, code) => {
        expect(error(message, code).outcome).toBe('unknown');
      }),
      { numRuns: 2_000 },
    );
  });

  it('does not take a known text for one in the middle of another, as a contract or a proxy may quote it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...WORDINGS), fc.constantFrom('upstream said: ', 'x', 'failed because ', '"', '0x08c379a0 '), ({ text }, before) => {
        expect(error(`${before}${text}`).outcome).toBe('unknown');
      }),
    );
    expect(error('execution reverted: already known')).toMatchObject({ outcome: 'refused', reason: 'REVERTED' });
    expect(error('nonce too lowish')).toMatchObject({ outcome: 'unknown' });
  });

  it.each([
    [429, { outcome: 'refused', reason: 'RATE_LIMITED' }],
    [401, { outcome: 'refused', reason: 'ENDPOINT_REFUSED' }],
    [413, { outcome: 'refused', reason: 'ENDPOINT_REFUSED' }],
    [500, { outcome: 'unknown' }],
    [502, { outcome: 'unknown' }],
    [504, { outcome: 'unknown' }],
    [200, { outcome: 'unknown' }],
  ])('HTTP %i without JSON-RPC', (status, expected) => {
    expect(classify({ kind: 'http', status })).toMatchObject(expected);
  });

  it('is unknown after a timeout, and refused only where no connection stood', () => {
    expect(classify({ kind: 'transport', sent: 'in-doubt', why: 'no answer within 3000 ms' })).toEqual({ outcome: 'unknown', why: 'no answer within 3000 ms' });
    expect(classify({ kind: 'transport', sent: 'not-sent', why: 'ECONNREFUSED' })).toMatchObject({ outcome: 'refused', reason: 'UNREACHABLE' });
  });
});

describe('one outcome of several endpoints', () => {
  const accepted: BroadcastOutcome = { outcome: 'accepted' };
  const known: BroadcastOutcome = { outcome: 'already-known' };
  const used: BroadcastOutcome = { outcome: 'nonce-used', why: 'nonce too low' };
  const unknown: BroadcastOutcome = { outcome: 'unknown', why: 'timeout' };
  const low: BroadcastOutcome = { outcome: 'refused', reason: 'FEE_TOO_LOW', why: 'underpriced' };
  const down: BroadcastOutcome = { outcome: 'refused', reason: 'UNREACHABLE', why: 'ECONNREFUSED' };

  it.each([
    ['one that accepts suffices', [low, unknown, accepted, used], accepted],
    ['one that has them suffices', [unknown, known, low], known],
    ['one that may have them outweighs refusals and used nonces', [low, unknown, used], unknown],
    ['a used nonce outweighs a refusal', [low, used], used],
    ['all refuse: the reason of one that looked at the bytes', [down, low], low],
    ['all are down', [down, down], down],
  ])('%s', (_, outcomes, merged) => {
    expect(mergeOutcomes(outcomes)).toEqual(merged);
    expect(mergeOutcomes([...outcomes].reverse()).outcome).toBe(merged.outcome);
  });

  it('is refused when there is nobody to send to', () => {
    expect(mergeOutcomes([])).toMatchObject({ outcome: 'refused', reason: 'UNREACHABLE' });
  });

  it('is refused only when every endpoint refuses', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(accepted, known, used, unknown, low, down), { minLength: 1, maxLength: 5 }), (outcomes) => {
        expect(mergeOutcomes(outcomes).outcome === 'refused').toBe(outcomes.every((it) => it.outcome === 'refused'));
      }),
    );
  });
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { counterCodec, raisedMessageV1, type CounterEvent } from '../test/counter';
import { eventEntry, messageEventCodec } from './event-codec';
import { assertFrozenFixtures } from './frozen-fixtures';

const FIXTURES = join(import.meta.dirname, '../test/fixtures/counter');

describe('event codec', () => {
  it('reads back every event that it writes, with its typed columns', () => {
    const events: fc.Arbitrary<CounterEvent> = fc.oneof(
      fc.record({ type: fc.constant('CounterOpened' as const), limit: fc.bigInt() }),
      fc.record({ type: fc.constant('CounterRaised' as const), by: fc.bigInt({ min: 0n }), reason: fc.string() }),
    );
    fc.assert(
      fc.property(events, (event) => {
        const encoded = counterCodec.encode(event);
        expect(counterCodec.decode(encoded)).toEqual(event);
        if (event.type === 'CounterRaised') expect(encoded.amountMinor).toBe(event.by);
      }),
    );
  });

  it('lifts every event of an older version to what it means today, however often it was read before', () => {
    fc.assert(
      fc.property(fc.bigInt(), (by) => {
        const payload = raisedMessageV1.encode({ by: by.toString() }).finish();
        const read = () => counterCodec.decode({ type: 'CounterRaised', schemaVersion: 1, payload });
        expect(read()).toEqual({ type: 'CounterRaised', by, reason: 'not recorded' });
        // What was lifted is written in the current version and stays the same from there on.
        expect(counterCodec.decode(counterCodec.encode(read()))).toEqual(read());
      }),
    );
  });

  it('stops at a type or version that it does not know', () => {
    expect(() => counterCodec.decode({ type: 'CounterLowered', schemaVersion: 1, payload: new Uint8Array() })).toThrow(/UNKNOWN_EVENT/);
    expect(() => counterCodec.decode({ type: 'CounterRaised', schemaVersion: 3, payload: new Uint8Array() })).toThrow(/UNKNOWN_EVENT/);
  });

  it('refuses a registry with a version that nobody can read any more', () => {
    expect(() => eventEntry({ message: raisedMessageV1, schemaVersion: 2, toMessage: (e: { by: string }) => e, fromMessage: (m) => m })).toThrow(/EVENT_VERSIONS/);
  });

  it('takes events whose fields are their message', () => {
    type Raised = { readonly type: 'Raised'; readonly by: string };
    const codec = messageEventCodec<Raised>({ Raised: raisedMessageV1 }, ({ by }) => ({ subjectId: by }));
    const encoded = codec.encode({ type: 'Raised', by: '7' });
    expect(encoded).toMatchObject({ type: 'Raised', schemaVersion: 1, subjectId: '7' });
    expect(codec.decode(encoded)).toEqual({ type: 'Raised', by: '7' });
  });
});

describe('frozen fixtures', () => {
  const samples: readonly CounterEvent[] = [
    { type: 'CounterOpened', limit: 5n },
    { type: 'CounterRaised', by: 2n, reason: 'asked' },
  ];

  it('hold for every version that was ever written', () => {
    assertFrozenFixtures(counterCodec, FIXTURES, samples, process.env['UPDATE_FIXTURES'] === '1');
  });

  it('fail for an event without a fixture and for one that means something else now', () => {
    const dir = mkdtempSync(join(tmpdir(), 'settlement-fixtures-'));
    try {
      expect(() => assertFrozenFixtures(counterCodec, dir, samples, false)).toThrow(/CounterOpened.v1.json is missing/);
      assertFrozenFixtures(counterCodec, dir, samples, true);
      const path = join(dir, 'CounterRaised.v2.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace('asked', 'guessed'));
      expect(() => assertFrozenFixtures(counterCodec, dir, samples, true)).toThrow(/no longer decodes/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AcceptedIntent } from '../intent/intent';
import { IntentQueue } from './intent-queue';

const item = (intentId: string): AcceptedIntent => ({ intent: { intentId } } as unknown as AcceptedIntent);

describe('intent queue', () => {
  it('refuses to hand an intent to a second transaction (I2)', () => {
    const queue = new IntentQueue();
    queue.add(item('a'));
    queue.take([item('a')]);
    expect(() => queue.take([item('a')])).toThrow('I2');
  });

  it('ignores a redelivered acceptance of what a transaction holds', () => {
    const queue = new IntentQueue();
    queue.add(item('a'));
    queue.take([item('a')]);
    queue.add(item('a'));
    expect(queue.size).toBe(0);
  });

  it('takes back what a reverted transaction gives back', () => {
    const queue = new IntentQueue();
    queue.add(item('a'));
    queue.take([item('a')]);
    queue.putBack([item('a')]);
    expect(queue.size).toBe(1);
  });

  it('holds an intent in one place only, whatever the order of events', () => {
    const step = fc.record({ verb: fc.constantFrom('add', 'take', 'putBack', 'settle'), id: fc.constantFrom('a', 'b', 'c') });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const queue = new IntentQueue();
        const taken = new Set<string>();
        for (const { verb, id } of steps) {
          const waits = queue.waiting().some((it) => it.intent.intentId === id);
          if (verb === 'add') queue.add(item(id));
          else if (verb === 'take' && waits) {
            queue.take([item(id)]);
            taken.add(id);
          } else if (verb === 'putBack' && taken.has(id)) {
            queue.putBack([item(id)]);
            taken.delete(id);
          } else if (verb === 'settle' && taken.has(id)) {
            queue.settle([id]);
            taken.delete(id);
          }
          for (const it of queue.waiting()) expect(taken.has(it.intent.intentId)).toBe(false);
        }
      }),
    );
  });
});

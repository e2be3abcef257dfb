import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { UnixNs } from '@settlement/kernel/time';
import { canonicalBytes, chainHash, GENESIS_HASH, type HashedEvent } from './canonical';

const event: HashedEvent = {
  source: 'gateway', partition: 2, position: 1n, streamId: 'payment-1', streamVersion: 1n, type: 'PaymentAccepted', schemaVersion: 1,
  payload: new Uint8Array([0xca, 0xfe]), amountMinor: 1_250_000n, token: 'USDC', commandId: 'c', commandIndex: 0, commandSize: 1,
  recordedAtNs: 5n as UnixNs, traceparent: '', region: 'eu', epoch: 3n,
};
const text = (value: string): string => Buffer.from(value).length.toString(16).padStart(8, '0') + Buffer.from(value).toString('hex');

describe('canonical bytes', () => {
  it('are those of docs/event-store.md, field by field', () => {
    const expected = [
      '01', '00000002', '0000000000000001', '0000000000000001',
      text('gateway'), text('payment-1'), text('PaymentAccepted'), '00000001', '00000002cafe',
      `01${text('1250000')}`, `01${text('USDC')}`, '00',
      text('c'), '00000000', '00000001', '0000000000000005', text(''), text('eu'), '0000000000000003',
    ].join('');
    expect(Buffer.from(canonicalBytes(event)).toString('hex')).toBe(expected);
    const hash = createHash('sha256').update(Buffer.concat([Buffer.alloc(32), Buffer.from(expected, 'hex')])).digest('hex');
    expect(Buffer.from(chainHash(GENESIS_HASH, event)).toString('hex')).toBe(hash);
  });

  it('differ as soon as any field does, also where two texts would read the same when joined', () => {
    const variants: readonly Partial<HashedEvent>[] = [
      {}, { partition: 3 }, { position: 2n }, { streamVersion: 2n }, { source: 'gatewa' }, { streamId: 'ypayment-1' }, { type: 'PaymentRefused' }, { schemaVersion: 2 },
      { payload: new Uint8Array([0xca]) }, { amountMinor: 1n }, { token: 'EURC' }, { subjectId: '' }, { commandId: 'd' }, { commandIndex: 1 }, { commandSize: 2 },
      { recordedAtNs: 6n as UnixNs }, { traceparent: '00' }, { region: 'us' }, { epoch: 4n }, { streamId: 'payment-é' },
    ];
    const hashes = variants.map((variant) => Buffer.from(chainHash(GENESIS_HASH, { ...event, ...variant })).toString('hex'));
    expect(new Set(hashes).size).toBe(variants.length);
  });
});

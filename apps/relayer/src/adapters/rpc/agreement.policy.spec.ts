import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChainHead, Receipt } from '../../ports/chain-reader';
import { agreedHead, agreedHeight, agreedReceipt, agreedValue, middleFees, type ReceiptVote } from './agreement.policy';
import { endpointName } from './endpoint-name';

const HASH = '0xaa';
const receipt = (blockNumber: bigint, change: Partial<Receipt> = {}): Receipt => ({ transactionHash: HASH, blockNumber, blockHash: `0xb${blockNumber}`, status: 1, gasUsed: 21_000n, gasPriceWei: 7n, logs: [], ...change });
const vote = (height: bigint, said?: Receipt): ReceiptVote => ({ height, receipts: new Map([[HASH, said]]) });
const head = (number: bigint, hash = `0x${number}`, timestampS = number): ChainHead => ({ number, hash, timestampS });

describe('agreement of endpoints', () => {
  it('needs a quorum of endpoints, however few answer', () => {
    expect(agreedValue([5n], 2, String)).toBeUndefined();
    expect(agreedValue([5n, 6n], 2, String)).toBeUndefined();
    expect(agreedValue([5n, 6n, 5n], 2, String)).toBe(5n);
  });

  it('never lets fewer liars than the quorum decide', () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 7 }), fc.bigInt({ min: 0n, max: 99n }), fc.array(fc.bigInt({ min: 100n, max: 102n })), (endpoints, truth, lies) => {
        const quorum = Math.floor(endpoints / 2) + 1;
        const liars = lies.slice(0, endpoints - quorum);
        const said = [...liars, ...Array.from({ length: endpoints - liars.length }, () => truth)];
        expect(agreedValue(said, quorum, String)).toBe(truth);
        expect(agreedHeight(said, quorum)).toBe(truth);
      }),
    );
  });

  it('takes the highest head that a quorum names, and not the one who runs ahead', () => {
    expect(agreedHead([head(100n), head(900n), head(100n)], 2)).toEqual(head(100n));
    expect(agreedHead([head(101n), head(101n), head(100n)], 2)).toEqual(head(101n));
    expect(agreedHead([head(100n), head(101n)], 2)).toBeUndefined();
    expect(agreedHead([head(100n), head(100n, '0xother')], 2)).toBeUndefined();
    expect(agreedHead([head(100n), head(100n, '0x100', 4_000_000_000n)], 2)).toBeUndefined();
  });

  it('does not believe a receipt of one endpoint', () => {
    expect(agreedReceipt(HASH, [vote(10n, receipt(9n)), vote(10n), vote(10n)], 2)).toEqual({ state: 'absent', height: 10n });
    expect(agreedReceipt(HASH, [vote(10n, receipt(9n, { status: 0 })), vote(10n, receipt(9n)), vote(10n, receipt(9n))], 2)).toEqual({ state: 'agreed', receipt: receipt(9n) });
    expect(agreedReceipt(HASH, [vote(10n, receipt(9n)), vote(10n, receipt(9n, { blockHash: '0xother' }))], 2)).toEqual({ state: 'undecided' });
  });

  it('believes a receipt that a quorum has although one has not, and does not call that absent', () => {
    expect(agreedReceipt(HASH, [vote(10n), vote(10n, receipt(9n)), vote(10n, receipt(9n))], 2)).toMatchObject({ state: 'agreed' });
    expect(agreedReceipt(HASH, [vote(10n), vote(10n, receipt(9n))], 2)).toEqual({ state: 'undecided' });
  });

  it('does not count an endpoint that is behind as a witness of absence', () => {
    expect(agreedReceipt(HASH, [vote(10n), vote(4n), vote(10n, receipt(9n))], 2)).toEqual({ state: 'undecided' });
    expect(agreedReceipt(HASH, [vote(10n), vote(8n)], 2)).toEqual({ state: 'absent', height: 8n });
  });

  it('takes a receipt from above the agreed height as not mined yet', () => {
    expect(agreedReceipt(HASH, [vote(11n, receipt(11n)), vote(10n), vote(9n)], 2)).toEqual({ state: 'absent', height: 10n });
  });

  it('follows no single endpoint about fees', () => {
    const fees = (baseFeeWei: bigint) => ({ baseFeeWei, priorityFeesWei: [] });
    expect(middleFees([fees(7n), fees(10n ** 18n), fees(8n)])).toEqual(fees(8n));
    expect(middleFees([fees(10n ** 18n), fees(8n)])).toEqual(fees(8n));
    expect(middleFees([])).toBeUndefined();
  });
});

describe('an endpoint’s name', () => {
  it('has no path, query or credentials', () => {
    expect(endpointName('rpc', 0, 'https://user:secret@node.example:8545/v3/0123456789abcdef?key=secret')).toBe('rpc 1 (node.example:8545)');
  });
});

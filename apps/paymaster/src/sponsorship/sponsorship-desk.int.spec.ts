import { systemClock } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import type { SponsorshipGranted } from '@settlement/proto/paymaster/v1/events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PgSponsorBook } from '../adapters/pg-sponsor-book';
import { migratePaymaster, PgSponsorshipBook, reconcileSponsorshipBook } from '../adapters/pg-sponsorship-book';
import { policyOf, SERVICE_CEILINGS, type SponsorPolicy } from '../policy/sponsor-policy';
import type { BlockMark, ExecutedOperation, OperationChain } from '../ports/operation-chain';
import { SponsorDesk } from '../sponsor/sponsor-desk';
import { sponsorCodec } from '../sponsor/sponsor.codec';
import { sponsorDecider } from '../sponsor/sponsor.decider';
import { sponsorStream } from '../sponsor/sponsor.events';
import { ChainFollower } from './chain-follower';
import { sponsorshipIdOf } from './operation-digest';
import { SponsorshipDesk, type GrantOutcome } from './sponsorship-desk';
import { reservationOf } from './sponsorship.events';

const chainId = 'eip155:31337' as ChainId;
const entryPoint = `0x${'e1'.repeat(20)}` as EvmAddress;
const paymaster = `0x${'fa'.repeat(20)}` as EvmAddress;
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { refused: () => undefined, group: () => undefined, oddCost: () => undefined, operation: () => undefined, ended: () => undefined };

let postgres: LocalPostgres;
let url: string;
let store: PostgresEventStore;
let sponsors = 0;

const open = (): Promise<PostgresEventStore> => openEventStore({ source: 'paymaster', partitionMap: singleDatabase(url), region: 'test', epoch: 1n, clock: systemClock });
const partsOver = (over: PostgresEventStore) => {
  const sponsorBook = new PgSponsorBook(over);
  const book = new PgSponsorshipBook(over);
  const budgets = new SponsorDesk({ store: over, book: sponsorBook, clock: systemClock, log, metrics });
  return { budgets, sponsorBook, book, desk: new SponsorshipDesk({ store: over, sponsors: budgets, sponsorBook, book, clock: systemClock }) };
};

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['paymaster'] });
  url = postgres.urlFor('paymaster');
  store = await open();
  await migratePaymaster(url);
});
afterAll(async () => {
  await store?.close();
  await postgres?.stop();
});

const nothing = { enabled: true, senders: [], factories: [], contracts: [], allowUndecodable: false, caps: undefined, costPerOperationWeiMax: '', senderQuotas: [], sponsorQuotas: [], validitySeconds: 0n, displayName: '', displayIcon: '' };
const freely: SponsorPolicy = policyOf(nothing, SERVICE_CEILINGS);

async function sponsorWith(budget: bigint): Promise<SponsorId> {
  sponsors += 1;
  const sponsorId = `spo_${sponsors}` as SponsorId;
  await partsOver(store).budgets.ask(sponsorId, { kind: 'set-budget', budget: budget as Wei, commandId: 'first', alreadyApplied: false }, '');
  return sponsorId;
}

function grantOf(sponsorId: SponsorId, name: string, cost: bigint, fields: Partial<{ sender: string; nonce: bigint; validUntil: bigint }> = {}): SponsorshipGranted {
  const digest = `${sponsorId}-${name}`;
  const sponsorshipId = sponsorshipIdOf(digest, 0);
  return {
    sponsorshipId, sponsorId, reservationId: reservationOf(sponsorshipId), chainId, entryPoint, paymaster, operationDigest: digest, generation: 0,
    operation: {
      sender: fields.sender ?? `0x${'aa'.repeat(20)}`, nonce: (fields.nonce ?? 0n).toString(), factory: '', factoryData: '0x', callData: '0x', callGasLimit: '1', verificationGasLimit: '1',
      preVerificationGas: '1', feePerGasWeiMax: '1', priorityFeePerGasWeiMax: '1', paymaster, paymasterVerificationGasLimit: '1', paymasterPostOpGasLimit: '1', paymasterData: '0x', signature: '0x',
    },
    costWeiMax: cost.toString(), validAfter: 0n, validUntil: fields.validUntil ?? 2_000_000_000n, screeningId: `scr-${sponsorshipId}`, policyVersion: 1n, calls: [], grantedAtNs: systemClock.nowNs(),
  };
}

const issueOf = (grant: SponsorshipGranted) => ({
  sponsorshipId: grant.sponsorshipId, sponsorId: grant.sponsorId, operationDigest: grant.operationDigest, signer: paymaster, signedHash: '0x', paymasterData: `0x${grant.sponsorshipId.slice(2)}`, userOperationHash: '',
  caps: undefined, reservationId: grant.reservationId, screeningId: grant.screeningId, validUntil: grant.validUntil, issuedAtNs: 1n,
});
const codes = (outcomes: readonly GrantOutcome[]): readonly string[] => outcomes.map((it) => (it.kind === 'granted' ? 'granted' : it.refusal.code));
async function sumsOf(sponsorId: SponsorId) {
  const state = await new PgSponsorBook(store).find(sponsorId);
  // The log's own sums are the book's, and no event left more reserved and spent than the budget (evolve asserts it: I8).
  expect(fold(sponsorDecider, (await store.readStream(sponsorStream(sponsorId))).map((event) => sponsorCodec.decode(event)))).toEqual(state);
  return { reserved: state?.reserved, spent: state?.spent };
}

/** A chain of blocks that a test writes by hand. */
class ScriptedChain implements OperationChain {
  blocks: { readonly time: bigint; readonly executed: readonly Partial<ExecutedOperation>[] }[] = [{ time: 0n, executed: [] }];

  estimate = () => Promise.reject(new Error('not asked here'));
  delegateOf = () => Promise.resolve(undefined);
  block = (number: bigint): Promise<BlockMark> => Promise.resolve({ number, time: this.blocks[Number(number)]?.time ?? 0n });
  finalBlock = (depth: number): Promise<BlockMark | undefined> => (this.blocks.length - 1 < depth ? Promise.resolve(undefined) : this.block(BigInt(this.blocks.length - 1 - depth)));
  async blockAt(time: bigint, highest: BlockMark): Promise<BlockMark> {
    let at = highest.number;
    while (at > 0n && (await this.block(at)).time > time) at -= 1n;
    return this.block(at);
  }
  executed = (from: bigint, to: bigint): Promise<readonly ExecutedOperation[]> =>
    Promise.resolve(
      this.blocks.slice(Number(from), Number(to) + 1).flatMap(({ executed }, i) =>
        executed.map((it): ExecutedOperation => ({
          entryPoint, userOperationHash: `0x${'0b'.repeat(32)}` as Bytes32, sender: `0x${'aa'.repeat(20)}` as EvmAddress, nonce: 0n, succeeded: true, costWei: 1n,
          transactionHash: `0x${'7a'.repeat(32)}`, blockNumber: from + BigInt(i), sponsorshipId: undefined, ...it,
        })),
      ),
    );
}

function followerOf(chain: OperationChain, parts: Pick<ReturnType<typeof partsOver>, 'book' | 'desk'>, finalityDepth = 1): ChainFollower {
  return new ChainFollower({ chainId, entryPoint: { address: entryPoint, version: '0.8', paymaster }, finalityDepth, pollMs: 10, chain, ...parts, store, clock: systemClock, log, metrics });
}

describe('sponsorships on Postgres', () => {
  it('64 concurrent callers in two processes never get more than the budget (I8)', async () => {
    const other = await open();
    try {
      const sponsorId = await sponsorWith(1_000n);
      const desks = [partsOver(store).desk, partsOver(other).desk];
      const outcomes = await Promise.all(
        Array.from({ length: 64 }, async (_, caller) => {
          const own: GrantOutcome[] = [];
          for (let n = 0; n < 4; n += 1) own.push((await desks[caller % 2]?.grant(grantOf(sponsorId, `${caller}-${n}`, 7n), freely, '')) ?? { kind: 'granted' });
          return own;
        }),
      );
      const all = codes(outcomes.flat());
      expect(all.filter((code) => code === 'granted')).toHaveLength(142);
      expect(all.filter((code) => code === 'BUDGET_EXCEEDED')).toHaveLength(256 - 142);
      expect(await sumsOf(sponsorId)).toEqual({ reserved: 994n, spent: 0n });
      expect(await store.query('SELECT count(*)::int AS n FROM sponsorship WHERE sponsor_id = $1', [sponsorId])).toEqual([{ n: 142 }]);
    } finally {
      await other.close();
    }
  });

  it('reserves an operation once, however many ask for it at once', async () => {
    const sponsorId = await sponsorWith(100n);
    const { desk } = partsOver(store);
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => desk.grant(grantOf(sponsorId, 'same', 60n), freely, '')));
    expect(new Set(codes(outcomes))).toEqual(new Set(['granted']));
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 60n, spent: 0n });
  });

  it('keeps the first signature where two callers sign at once: hardware signs the same digest to other bytes', async () => {
    const sponsorId = await sponsorWith(100n);
    const { desk, book } = partsOver(store);
    const grant = grantOf(sponsorId, 'signed', 60n);
    await desk.grant(grant, freely, '');
    const read = await desk.load(grant.sponsorshipId);
    // Both have read it unsigned; then one after the other writes.
    const first = await desk.issue(issueOf(grant), read, '');
    const second = await desk.issue({ ...issueOf(grant), paymasterData: '0xff' }, read, '');
    expect([first, second].map((state) => ('issue' in state ? state.issue?.paymasterData : ''))).toEqual([`0x${grant.sponsorshipId.slice(2)}`, `0x${grant.sponsorshipId.slice(2)}`]);
    expect(await book.find(grant.sponsorshipId)).toMatchObject({ state: 'open' });
    expect(await reconcileSponsorshipBook(store, store)).toBe(0);
  });

  it('counts quotas a sender and a sponsor, under 64 callers, and forgets what expired', async () => {
    const sponsorId = await sponsorWith(10_000n);
    const { desk } = partsOver(store);
    const policy = policyOf({ ...nothing, senderQuotas: [{ seconds: 3_600n, countMax: 3n, amountWeiMax: '' }], sponsorQuotas: [{ seconds: 3_600n, countMax: 0n, amountWeiMax: '100' }] }, SERVICE_CEILINGS);
    const senders = Array.from({ length: 8 }, (_, i) => `0x${String(i).repeat(40)}`);
    const outcomes = codes(await Promise.all(Array.from({ length: 64 }, (_, i) => desk.grant(grantOf(sponsorId, `q${i}`, 5n, { sender: senders[i % 8] ?? '', nonce: BigInt(i), validUntil: 10n }), policy, ''))));
    // 8 senders of 3 each are 24; 20 of 5 wei are the sponsor's 100.
    expect(outcomes.filter((code) => code === 'granted')).toHaveLength(20);
    expect(outcomes).toContain('SPONSOR_QUOTA');
    expect(codes([await desk.grant(grantOf(sponsorId, 'later', 5n, { sender: senders[0] ?? '' }), policy, '')])).toEqual(['SENDER_QUOTA']);
    const chain = new ScriptedChain();
    chain.blocks.push({ time: 11n, executed: [] }, { time: 12n, executed: [] });
    await followerOf(chain, { ...partsOver(store), desk }).step();
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 0n });
    expect(codes([await desk.grant(grantOf(sponsorId, 'later', 5n, { sender: senders[0] ?? '' }), policy, '')])).toEqual(['granted']);
  });

  it('leaves nothing behind when the transaction fails before its COMMIT, and the repetition grants', async () => {
    const sponsorId = await sponsorWith(100n);
    let failing = true;
    const failingOnce = Object.assign(Object.create(store) as PostgresEventStore, {
      transact: (partition: number, work: Parameters<PostgresEventStore['transact']>[1]) =>
        store.transact(partition, async (tx) => {
          const result = await work(tx);
          if (failing) {
            failing = false;
            throw new Error('the process fails here');
          }
          return result;
        }),
    });
    const grant = grantOf(sponsorId, 'torn', 60n);
    const { desk, book } = partsOver(failingOnce);
    await expect(desk.grant(grant, freely, '')).rejects.toThrow('the process fails here');
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 0n });
    expect(await book.find(grant.sponsorshipId)).toBeUndefined();
    expect(await store.readStream(`sponsorship-${grant.sponsorshipId}`)).toEqual([]);
    expect(codes([await desk.grant(grant, freely, '')])).toEqual(['granted']);
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 60n, spent: 0n });
  });
});

describe('following the chain', () => {
  const settled = async (name: string, follow: (chain: ScriptedChain, grant: SponsorshipGranted, follower: ChainFollower, parts: ReturnType<typeof partsOver>) => Promise<void>, cost = 60n) => {
    await store.transact(0, (tx) => tx.query('DELETE FROM chain_cursor'));
    const sponsorId = await sponsorWith(100n);
    const parts = partsOver(store);
    const grant = grantOf(sponsorId, name, cost, { validUntil: systemClock.nowNs() / 1_000_000_000n + 100n, nonce: BigInt(sponsors) });
    await parts.desk.grant(grant, freely, '');
    await parts.desk.issue(issueOf(grant), await parts.desk.load(grant.sponsorshipId), '');
    const chain = new ScriptedChain();
    await follow(chain, grant, followerOf(chain, parts), parts);
    return sponsorId;
  };
  const now = (): bigint => systemClock.nowNs() / 1_000_000_000n;

  it('settles to what the entry point took, only once the block is final, whoever bundled it, and once', async () => {
    const sponsorId = await settled('bundled', async (chain, grant, follower, parts) => {
      chain.blocks.push({ time: now(), executed: [{ sponsorshipId: grant.sponsorshipId as Bytes32, costWei: 42n }] });
      await follower.step();
      expect(await sumsOf(grant.sponsorId as SponsorId)).toEqual({ reserved: 60n, spent: 0n });
      chain.blocks.push({ time: now() + 1n, executed: [] });
      await follower.step();
      expect(await sumsOf(grant.sponsorId as SponsorId)).toEqual({ reserved: 0n, spent: 42n });
      // Crash between record and cursor: the same blocks again.
      await store.transact(0, (tx) => tx.query('UPDATE chain_cursor SET block_number = 0'));
      await followerOf(chain, parts).step();
      expect(await parts.book.find(grant.sponsorshipId)).toMatchObject({ state: 'settled' });
    });
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 42n });
  });

  it('two processes that follow at once settle once, and their tables agree with the log', async () => {
    const other = await open();
    try {
      const sponsorId = await settled('followed twice', async (chain, grant, follower) => {
        chain.blocks.push({ time: now(), executed: [{ sponsorshipId: grant.sponsorshipId as Bytes32, costWei: 33n }] }, { time: now() + 1n, executed: [] });
        const second = followerOf(chain, partsOver(other));
        // The slower one finds the stream changed under it, is rolled back whole, and has nothing left to do when it tries again.
        const steps = await Promise.allSettled([follower.step(), second.step(), follower.step()]);
        for (const step of steps) if (step.status === 'rejected') expect(step.reason).toMatchObject({ code: 'CONTENTION', outcome: 'not-done' });
        await second.step();
        expect(await store.readStream(`sponsorship-${grant.sponsorshipId}`)).toHaveLength(3);
      });
      expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 33n });
      expect(await reconcileSponsorshipBook(store, store)).toBe(0);
    } finally {
      await other.close();
    }
  });

  it('settles by sender and nonce where the paymaster could not write its log', async () => {
    const sponsorId = await settled('unlogged', async (chain, grant, follower) => {
      chain.blocks.push({ time: now(), executed: [{ nonce: BigInt(grant.operation?.nonce ?? 0), costWei: 17n, succeeded: false }] }, { time: now(), executed: [] });
      await follower.step();
    });
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 17n });
  });

  it('holds the reservation until a final block is younger than the signature, and not one block less', async () => {
    const sponsorId = await settled('unused', async (chain, grant, follower) => {
      chain.blocks.push({ time: grant.validUntil, executed: [] }, { time: grant.validUntil + 1n, executed: [] });
      await follower.step();
      expect(await sumsOf(grant.sponsorId as SponsorId)).toEqual({ reserved: 60n, spent: 0n });
      chain.blocks.push({ time: grant.validUntil + 2n, executed: [] });
      await follower.step();
    });
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 0n });
  });

  it('settles what was executed in the very block that ends its validity', async () => {
    const sponsorId = await settled('late', async (chain, grant, follower) => {
      chain.blocks.push({ time: grant.validUntil, executed: [{ sponsorshipId: grant.sponsorshipId as Bytes32, costWei: 9n }] }, { time: grant.validUntil + 5n, executed: [] }, { time: grant.validUntil + 6n, executed: [] });
      await follower.step();
    });
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 9n });
  });

  it('begins before the oldest open sponsorship when its place is lost', async () => {
    const sponsorId = await settled('lost place', async (chain, grant, follower) => {
      chain.blocks.push({ time: now() - 50n, executed: [] }, { time: now(), executed: [{ sponsorshipId: grant.sponsorshipId as Bytes32, costWei: 8n }] }, { time: now() + 1n, executed: [] }, { time: now() + 2n, executed: [] });
      await follower.step();
    });
    expect(await sumsOf(sponsorId)).toEqual({ reserved: 0n, spent: 8n });
  });

  it('rebuilds the table from the log, and refuses one that is ahead of it', async () => {
    const sponsorId = await settled('rebuilt', async (chain, grant, follower, parts) => {
      const before = await parts.book.find(grant.sponsorshipId);
      await store.transact(0, (tx) => tx.query('DELETE FROM sponsorship'));
      expect(await reconcileSponsorshipBook(store, store)).toBeGreaterThan(0);
      expect(await parts.book.find(grant.sponsorshipId)).toEqual(before);
      expect(await reconcileSponsorshipBook(store, store)).toBe(0);
      await store.transact(0, (tx) => tx.query('UPDATE sponsorship SET version = version + 1 WHERE sponsorship_id = $1', [grant.sponsorshipId]));
      await expect(reconcileSponsorshipBook(store, store)).rejects.toThrow(/ahead of its log/);
      await store.transact(0, (tx) => tx.query('UPDATE sponsorship SET version = version - 1 WHERE sponsorship_id = $1', [grant.sponsorshipId]));
    });
    expect(sponsorId).not.toBe('');
  });
});


import { systemClock } from '@settlement/config/system-ports';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startChain, type TestChain } from '../test/chain-fixture';
import { collected, registered, type TestMerchant } from '../test/ledger-fixture';
import { knownBalanceOf, settlesTo, startFleet, type Fleet, type GrpcPeers, type SettlementProcess } from '../test/service-fixture';

type Call = Parameters<GrpcPeers['before']>[0];

describe('two processes on the same databases', () => {
  let chain: TestChain;
  let fleet: Fleet;
  let other: SettlementProcess;

  beforeAll(async () => {
    chain = await startChain();
    fleet = await startFleet(chain);
    other = await fleet.another();
  });
  afterAll(async () => {
    await fleet?.stop();
    await chain?.stop();
  });
  beforeEach(async () => {
    await fleet.start();
    // What it has paid while it was alone it has paid by being the one at work; it stays that while the other joins and stands by.
    const merchant = chain.merchant();
    await pay(merchant, 7n);
    await paidOut(fleet, merchant, 7n);
    await other.start();
  });
  afterEach(async () => {
    fleet.peers.before = () => undefined;
    await Promise.all([fleet.terminate(), other.terminate()]);
  });

  /** Resolves as `call` arrives from whoever is at work, after `then` was done to it and before it hears the answer. */
  const onceAt = (call: Call, then: () => void | Promise<void>) =>
    new Promise<void>((resolve, reject) => {
      fleet.peers.before = async (arrived) => {
        if (arrived !== call) return;
        fleet.peers.before = () => undefined;
        await Promise.resolve(then()).then(resolve, reject);
      };
    });

  const pay = async (merchant: TestMerchant, amount: bigint) => {
    await fleet.publish(registered(merchant), collected(merchant, amount, undefined, await chain.collect(merchant, amount)));
  };

  /** As `at` sees it; an execution of what was handed in is part of each look, as a relayer would be. */
  const paidOut = async (at: SettlementProcess, merchant: TestMerchant, amount: bigint) => {
    for (let attempt = 0; attempt < 800; attempt += 1) {
      await fleet.execute();
      if ((await knownBalanceOf(at, merchant))?.paidOutMinor === amount.toString()) return;
      await systemClock.sleep(50);
    }
    throw new Error(`no payout of ${amount} within 40 s: ${at.log().slice(-4_000)}`);
  };

  const equalsTheChain = async (at: SettlementProcess) => {
    await chain.mine(2);
    const { results } = await at.client.reconcile({});
    expect(results[0]).toMatchObject({ breaks: 0n, ledgerVaultMinor: '0', tokenBalanceMinor: '0' });
    const { tokens } = await at.client.getLedger({});
    expect(tokens[0]).toMatchObject({ sumOfPostings: '0', openBreaks: 0n });
  };

  it.each([
    ['before its batch is screened', 'screenMany'],
    ['with gas reserved', 'reserveMany'],
    ['after handing in, before the answer', 'submitMany'],
  ] as const)('the one at work is killed %s: the other takes over and pays once', async (_window, call) => {
    const merchant = chain.merchant();
    const dead = onceAt(call, () => fleet.kill9());
    await pay(merchant, 21n);
    await dead;
    await paidOut(other, merchant, 21n);
    expect(settlesTo(fleet, merchant)).toHaveLength(1);
    await equalsTheChain(other);
  });

  it.each([
    ['screening', 'screenMany'],
    ['handing in', 'submitMany'],
  ] as const)('one that is frozen while %s is taken for gone; woken, it adds nothing to what the other has done', async (_window, call) => {
    const [first, second] = [chain.merchant(), chain.merchant()];
    const frozen = onceAt(call, () => fleet.freeze());
    await pay(first, 31n);
    await frozen;
    try {
      await paidOut(other, first, 31n);
      await pay(second, 32n);
      await paidOut(other, second, 32n);
    } finally {
      fleet.thaw();
    }
    // It sees what was done without it, and both go on.
    await paidOut(fleet, second, 32n);
    await pay(first, 33n);
    await Promise.all([paidOut(fleet, first, 64n), paidOut(other, first, 64n)]);
    expect(settlesTo(fleet, first)).toHaveLength(2);
    expect(settlesTo(fleet, second)).toHaveLength(1);
    await equalsTheChain(fleet);
  });
});

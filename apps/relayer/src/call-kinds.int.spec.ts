import { addressWord } from '@settlement/chain/hex';
import { exactPermit2ProxyStandInAbi } from '@settlement/contracts/generated/ExactPermit2ProxyStandIn';
import { fiatTokenV2_2Abi } from '@settlement/contracts/generated/FiatTokenV2_2';
import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import type { IntentOutcome } from '@settlement/proto/relayer/v1/events';
import { IntentReason, IntentState, SubmitOutcome, type IntentStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { deployPermit2, PERMIT2 } from '@settlement/testing/permit2';
import { Interface, type InterfaceAbi } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { frameOf, newPayer, permit2Transfer, transfer, userOperation, walletOf } from '../test/call-requests';
import { readAll, startRelayer, until, type RunningRelayer } from '../test/in-process';
import { startWorld, type Payer, type RelayerWorld } from '../test/relayer-world';
import { contractCalls } from './adapters/contract-calls';
import { intentOf } from './intent/intent-admission.policy';

const usdcInterface = new Interface(fiatTokenV2_2Abi as unknown as InterfaceAbi);
const proxyInterface = new Interface(exactPermit2ProxyStandInAbi as unknown as InterfaceAbi);
const PAID = 'INTENT_REASON_UNSPECIFIED';

let world: RelayerWorld;
let running: RunningRelayer;

beforeAll(async () => {
  world = await startWorld({ databases: ['relayer'], payers: 50, blockTimeMs: 500, finalityDepth: 1 });
  // Long enough that fifty submissions share a transaction on a machine that is busy.
  running = await startRelayer({ ...world.environment('relayer'), COLLECT_WAIT_MS: '1000' });
});

afterAll(async () => {
  await running?.stop();
  await world?.stop();
});

async function submitted(...requests: readonly SubmitRequest[]): Promise<readonly string[]> {
  const answers = await running.relayer.submission.submit(requests, '');
  expect(answers.map(({ outcome, reason }) => [outcome, IntentReason[reason]])).toEqual(requests.map(() => [SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, PAID]));
  return requests.map(({ intentId }) => intentId);
}

async function ended(intentIds: readonly string[]): Promise<readonly IntentStatus[]> {
  let statuses: readonly IntentStatus[] = [];
  await until('all intents have ended', async () => {
    statuses = await running.relayer.queries.intents([...intentIds]);
    return statuses.every(({ state }) => state === IntentState.INTENT_STATE_FINAL || state === IntentState.INTENT_STATE_FAILED);
  });
  return statuses;
}

const facts = async () => (await readAll(world.postgres.urlFor('relayer'))).flatMap(({ event }) => (event.type === 'TransactionFinalized' ? [event] : []));
const outcomesOf = async (intentIds: readonly string[]): Promise<readonly IntentOutcome[]> => {
  const all = new Map((await facts()).flatMap(({ outcomes }) => outcomes.map((outcome) => [outcome.intentId, outcome] as const)));
  return intentIds.flatMap((intentId) => all.get(intentId) ?? []);
};
const unitsOf = async (who: EvmAddress): Promise<bigint> => BigInt(String(await world.rpc.call('eth_call', [{ to: world.chain.usdc, data: `0x70a08231${addressWord(who)}` }, 'latest'])));
const payerAt = (index: number): Payer => {
  const payer = world.payers[index];
  if (payer === undefined) throw new RangeError('no such payer');
  return payer;
};
/** Somebody else executes the authorization, as anybody who has seen it may. */
async function frontRun({ kind }: SubmitRequest): Promise<string> {
  if (kind?.$case !== 'transfer' || kind.value.authorization === undefined) throw new RangeError('expected a transfer');
  const { from, to, valueMinor, validAfter, validBefore, nonce, signature } = kind.value.authorization;
  const call = usdcInterface.encodeFunctionData('transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)', [from, to, valueMinor, validAfter, validBefore, nonce, signature]);
  return world.chain.sendAs('0x00000000000000000000000000000000000f0eed' as EvmAddress, world.chain.usdc, call);
}

describe('direct transfers', () => {
  it('pays 50 in one transaction, among them an ERC-1271 wallet that is deployed on the way, and only the bad one fails', async () => {
    const payee = newPayer().address;
    const owner = newPayer();
    const wallet = await walletOf(world, owner);
    const requests = [
      ...Array.from({ length: 46 }, (_, i) => transfer(world, { payer: payerAt(i), to: payee })),
      transfer(world, { payer: payerAt(46), to: payee, forger: owner }),
      transfer(world, { payer: payerAt(47), to: payee, value: 10n ** 15n }),
      transfer(world, { payer: owner, to: payee, wallet }),
      transfer(world, { payer: payerAt(48), to: payee }),
    ];
    const spent = requests[49];
    if (spent === undefined) throw new RangeError('no fiftieth');
    const foreign = await frontRun(spent);
    const intentIds = await submitted(...requests);
    await ended(intentIds);
    const outcomes = await outcomesOf(intentIds);
    expect(outcomes.map(({ reason }) => IntentReason[reason])).toEqual([
      ...Array.from({ length: 46 }, () => PAID),
      'INTENT_REASON_INVALID_SIGNATURE',
      'INTENT_REASON_INSUFFICIENT_FUNDS',
      PAID,
      // Paid by the stranger, who is named.
      PAID,
    ]);
    expect(outcomes.map(({ executed }) => executed)).toEqual([...Array.from({ length: 46 }, () => true), false, false, true, true]);
    expect(outcomes.at(-1)?.executedByTransactionHash).toBe(foreign);
    expect(outcomes[0]?.executedByTransactionHash).toBe('');
    expect(await unitsOf(payee)).toBe(48_000_000n);
    expect(await unitsOf(world.chain.transfers)).toBe(0n);
    const own = (await facts()).filter(({ outcomes: of }) => of.some(({ intentId }) => intentIds.includes(intentId)));
    expect(own).toHaveLength(1);
    // The shares sum to the cost.
    expect(outcomes.reduce((sum, { costWei }) => sum + BigInt(costWei), 0n)).toBe((own[0]?.gasUsed ?? 0n) * BigInt(own[0]?.gasPriceWei ?? '0'));
  });

  it('does not take for paid what was executed for another payee or was taken for another intent', async () => {
    const [payee, other] = [newPayer().address, newPayer().address];
    const nonce = `0x${'5e'.repeat(32)}` as const;
    // The payer signed the same nonce twice, and somebody executes the other one.
    await frontRun(transfer(world, { payer: payerAt(1), to: other, nonce: nonce as never }));
    const request = transfer(world, { payer: payerAt(1), to: payee, nonce: nonce as never });
    const twice = transfer(world, { payer: payerAt(2), to: payee });
    const again = { ...twice, ...frameOf(world), kind: twice.kind };
    const intentIds = await submitted(request, twice, again);
    await ended(intentIds);
    const outcomes = await outcomesOf(intentIds);
    expect(outcomes[0]).toMatchObject({ executed: false, reason: IntentReason.INTENT_REASON_AUTHORIZATION_USED, executedByTransactionHash: '' });
    expect(outcomes.slice(1).map(({ executed }) => executed).sort()).toEqual([false, true]);
    expect(await unitsOf(payee)).toBe(1_000_000n);
  });

  it('goes on with the vault while direct transfers are frozen, and with them afterwards', async () => {
    await world.chain.sendAs(world.guardian, world.chain.transfers, '0x62a5af3b'); // freeze()
    const [payee, merchantBefore] = [newPayer().address, await world.merchantUnits(7)];
    const [frozen] = await submitted(transfer(world, { payer: payerAt(3), to: payee }));
    const [collected] = await submitted(world.collect({ payer: 4, merchant: 7 }));
    await ended([collected ?? '']);
    expect(await world.merchantUnits(7)).toBe(merchantBefore + 1_000_000n);
    expect((await running.relayer.queries.intents([frozen ?? '']))[0]?.state).toBe(IntentState.INTENT_STATE_ACCEPTED);
    await world.chain.sendAs(world.guardian, world.chain.transfers, '0x6a28f000'); // unfreeze()
    await ended([frozen ?? '']);
    expect(await unitsOf(payee)).toBe(1_000_000n);
  });

  it('refuses what it must not execute', async () => {
    const wallet = await walletOf(world, payerAt(5));
    const deploying = transfer(world, { payer: payerAt(5), to: payerAt(6).address, wallet });
    if (deploying.kind?.$case !== 'transfer') throw new RangeError('expected a transfer');
    const answers = await running.relayer.submission.submit(
      [
        transfer(world, { payer: payerAt(5), to: world.chain.transfers }),
        { ...deploying, kind: { $case: 'transfer', value: { ...deploying.kind.value, factory: world.chain.usdc } } },
        { ...frameOf(world), kind: { $case: 'topUp', value: { to: payerAt(5).address, amountWei: '1' } } },
      ],
      '',
    );
    expect(answers.map(({ reason }) => IntentReason[reason])).toEqual(['INTENT_REASON_MALFORMED', 'INTENT_REASON_NOT_ALLOWED', 'INTENT_REASON_NOT_ALLOWED']);
  });
});

describe('permits', () => {
  it('are paid in one transaction, and one that a stranger settles first is found by what the stranger called', async () => {
    await deployPermit2(world.rpc);
    const payee = newPayer().address;
    const payers = [20, 21, 22].map(payerAt);
    for (const { address } of payers) await world.chain.sendAs(address, world.chain.usdc, usdcInterface.encodeFunctionData('approve', [PERMIT2, 2n ** 200n]));
    const [first, second, third] = payers;
    if (first === undefined || second === undefined || third === undefined) throw new RangeError('no payers');
    const settled = await permit2Transfer(world, { payer: second, to: payee });
    // An equal payment of the same payer, and a permit that its owner has made void.
    const equal = await permit2Transfer(world, { payer: third, to: payee });
    const voided = await permit2Transfer(world, { payer: third, to: payee });
    const settle = async ({ kind }: SubmitRequest): Promise<string> => {
      if (kind?.$case !== 'permit2Transfer') throw new RangeError('expected a permit');
      const { owner, to, amountMinor, nonce, deadline, validAfter, signature } = kind.value;
      const permit = { permitted: { token: world.chain.usdc, amount: amountMinor }, nonce, deadline };
      return world.chain.sendAs('0x00000000000000000000000000000000000f0eed' as EvmAddress, world.chain.permit2Proxy, proxyInterface.encodeFunctionData('settle', [permit, owner, { to, validAfter }, signature]));
    };
    const foreign = await settle(settled);
    await settle(equal);
    if (voided.kind?.$case !== 'permit2Transfer') throw new RangeError('expected a permit');
    const nonce = BigInt(voided.kind.value.nonce);
    await world.chain.sendAs(third.address, PERMIT2, new Interface(['function invalidateUnorderedNonces(uint256,uint256)']).encodeFunctionData('invalidateUnorderedNonces', [nonce >> 8n, 1n << (nonce & 255n)]));
    const intentIds = await submitted(await permit2Transfer(world, { payer: first, to: payee }), settled, voided);
    await ended(intentIds);
    const outcomes = await outcomesOf(intentIds);
    expect(outcomes.map(({ executed, reason, executedByTransactionHash }) => [executed, IntentReason[reason], executedByTransactionHash])).toEqual([
      [true, PAID, ''],
      [true, PAID, foreign],
      [false, 'INTENT_REASON_AUTHORIZATION_USED', ''],
    ]);
    expect(await unitsOf(payee)).toBe(3_000_000n);
  });
});

describe('user operations', () => {
  it.each(['0.7', '0.8'] as const)('bundles them on entry point %s, charges each what it used, and isolates the faulty one', async (version) => {
    const owners = [newPayer(), newPayer(), newPayer(), newPayer()];
    const [first, second, third, fourth] = owners;
    if (first === undefined || second === undefined || third === undefined || fourth === undefined) throw new RangeError('no owners');
    const requests = [
      await userOperation(world, { version, owner: first }),
      await userOperation(world, { version, owner: second }),
      // The account refuses it in its validation.
      await userOperation(world, { version, owner: third, unsigned: true }),
      // Valid, and its call reverts.
      await userOperation(world, { version, owner: fourth, call: { to: world.chain.usdc, data: usdcInterface.encodeFunctionData('transfer', [first.address, 1n]) } }),
    ];
    const beforeWei = BigInt(String(await world.rpc.call('eth_getBalance', [world.relayer, 'latest'])));
    const intentIds = await submitted(...requests);
    const statuses = await ended(intentIds);
    expect(IntentReason[statuses[2]?.reason ?? 0]).toBe('INTENT_REASON_OPERATION_REJECTED');
    const good = intentIds.filter((_, index) => index !== 2);
    const outcomes = await outcomesOf(good);
    expect(outcomes.map(({ reason }) => IntentReason[reason])).toEqual([PAID, PAID, 'INTENT_REASON_OPERATION_REVERTED']);
    const [fact, ...more] = (await facts()).filter(({ outcomes: of }) => of.some(({ intentId }) => good.includes(intentId)));
    expect(more).toEqual([]);
    const charged = outcomes.reduce((sum, { costWei }) => sum + BigInt(costWei), 0n);
    const paidWei = (fact?.gasUsed ?? 0n) * BigInt(fact?.gasPriceWei ?? '0');
    const afterWei = BigInt(String(await world.rpc.call('eth_getBalance', [world.relayer, 'latest'])));
    // What the operations were charged came back to the key.
    expect(afterWei).toBe(beforeWei - paidWei + charged);
    expect(charged > 0n).toBe(true);
  });

  it('executes the operations of one sender one after the other, in whatever order they come', async () => {
    const owner = newPayer();
    const first = await userOperation(world, { version: '0.8', owner });
    const second = await userOperation(world, { version: '0.8', owner, nonce: 1n, deployed: true });
    const third = await userOperation(world, { version: '0.8', owner, nonce: 2n, deployed: true });
    const intentIds = await submitted(third, second, first);
    await ended(intentIds);
    expect((await outcomesOf(intentIds)).map(({ executed }) => executed)).toEqual([true, true, true]);
  });

  it('gives up an operation that somebody else has bundled, and says who', async () => {
    const owner = newPayer();
    const request = await userOperation(world, { version: '0.8', owner });
    if (request.kind?.$case !== 'userOperation') throw new RangeError('expected an operation');
    const [entryPoint] = world.chain.entryPoints;
    const calls = contractCalls({ vaultAddress: world.chain.vault });
    const call = intentOf(request, [{ chainId: request.chainId as ChainId, vaultAddress: world.chain.vault, tokens: [], entryPoints: world.chain.entryPoints }])?.call;
    if (call === undefined || entryPoint === undefined) throw new RangeError('not an intent');
    const stranger = '0x00000000000000000000000000000000000f0eed' as EvmAddress;
    const foreign = await world.chain.sendAs(stranger, entryPoint.address, calls.encode([call], { epoch: 0n, keyAddress: stranger }).data);
    const [intentId] = await submitted(request);
    const [status] = await ended([intentId ?? '']);
    expect(IntentReason[status?.reason ?? 0]).toBe('INTENT_REASON_DUPLICATE');
    const given = (await readAll(world.postgres.urlFor('relayer'))).flatMap(({ event }) => (event.type === 'IntentExpired' && event.intentId === intentId ? [event] : []));
    expect(given[0]?.detail).toBe(`executed by ${foreign}`);
  });

  it('refuses an operation under another hash or for an entry point that it does not know', async () => {
    const request = await userOperation(world, { version: '0.8', owner: newPayer() });
    if (request.kind?.$case !== 'userOperation') throw new RangeError('expected an operation');
    const changed = { ...request.kind.value, userOperationHash: `0x${'00'.repeat(32)}` };
    const [refused] = await running.relayer.submission.submit([{ ...request, kind: { $case: 'userOperation', value: changed } }], '');
    expect(IntentReason[refused?.reason ?? 0]).toBe('INTENT_REASON_MALFORMED');
    const [elsewhere] = await running.relayer.submission.submit([{ ...request, kind: { $case: 'userOperation', value: { ...request.kind.value, entryPoint: world.chain.vault } } }], '');
    expect(IntentReason[elsewhere?.reason ?? 0]).toBe('INTENT_REASON_NOT_ALLOWED');
  });
});

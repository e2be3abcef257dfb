import { systemClock } from '@settlement/config/system-ports';
import { jsonRpc } from '@settlement/chain/rpc';
import type { DemoTarget } from '../src/demo-target';
import { tokenBalances } from '../src/money-check';
import type { Observer } from '../src/observer';
import type { SteadyLoad } from './steady-load';

export interface MoneyVerdict {
  readonly ok: boolean;
  readonly detail: string;
}

/** Nothing has moved for so long: what is missing will not come. */
const STALL_MS = 120_000;
/** A last batch, its finality and a reconciliation behind it. */
const LEDGER_PATIENCE_MS = 60_000;

/** Resolves when every accepted payment is paid out, or when nothing has moved for two minutes; what is missing is then said. */
export async function allPaidOut(load: SteadyLoad, observer: Observer, abort: AbortSignal): Promise<readonly string[]> {
  let movedAtMs = systemClock.monotonicMs();
  let last = '';
  for (;;) {
    if (abort.aborted) throw new Error('interrupted');
    const open = load.payments.flatMap(({ paymentId }) => {
      if (paymentId === undefined) return [];
      const track = observer.payments.get(paymentId);
      if (track?.paidOutAtMs !== undefined) return [];
      return [`${paymentId}: ${track?.refusedCode ?? (track?.heldAtMs !== undefined ? 'held' : track?.collectedAtMs !== undefined ? 'collected' : track?.submittedAtMs !== undefined ? 'submitted' : track?.acceptedAtMs !== undefined ? 'accepted' : 'not in the log')}`];
    });
    if (open.length === 0) return open;
    const state = JSON.stringify(observer.counts());
    if (state !== last) movedAtMs = systemClock.monotonicMs();
    last = state;
    if (systemClock.monotonicMs() - movedAtMs > STALL_MS) return open;
    await systemClock.sleep(200);
  }
}

/**
 * The end state of a load: each payment collected once and paid out once, each merchant's address holding exactly its money,
 * ledger and chain equal without a break. Waits for the last ones to arrive.
 */
export async function moneyVerdict(target: DemoTarget, load: SteadyLoad, observer: Observer, sinceBlock: bigint, abort: AbortSignal): Promise<MoneyVerdict> {
  await load.resolve();
  const open = await allPaidOut(load, observer, abort);
  const problems: string[] = [];
  if (open.length > 0) problems.push(`${open.length} of ${load.payments.length} payments have not reached their end: ${open.slice(0, 3).join(', ')}`);
  if (observer.doubled.length > 0) problems.push(`doubled: ${observer.doubled.slice(0, 3).join(', ')}`);

  const used = await usedNonces(target, sinceBlock);
  const times = load.payments.map(({ nonce }) => used.get(nonce) ?? 0);
  const missing = times.filter((count) => count === 0).length;
  const twice = times.filter((count) => count > 1).length;
  if (missing > 0) problems.push(`${missing} accepted authorizations were never used on the chain`);
  if (twice > 0) problems.push(`${twice} authorizations were used twice`);

  const expected = load.merchants.map((_, merchant) => load.payments.filter((p) => p.merchant === merchant).reduce((sum, p) => sum + p.amountMinor, 0n));
  const received = await tokenBalances(target, load.payoutAddresses());
  expected.forEach((amount, merchant) => {
    if (received[merchant] !== amount) problems.push(`merchant ${merchant} has ${received[merchant] ?? 0n} instead of ${amount}`);
  });

  const ledger = await ledgerAtRest(target);
  if (ledger !== undefined) problems.push(ledger);
  return {
    ok: problems.length === 0,
    detail: problems.length === 0 ? `${load.payments.length} payments, each collected and paid out once; ledger = chain, no breaks` : problems.join('; '),
  };
}

/** Undefined once ledger and chain agree; otherwise what stood between them for the whole time. */
async function ledgerAtRest(target: DemoTarget): Promise<string | undefined> {
  const deadline = systemClock.monotonicMs() + LEDGER_PATIENCE_MS;
  for (;;) {
    const view = await target.ledger();
    if (view.sumOfPostings === '0' && view.breaks === 0 && view.vaultBalanceOnLedger === view.vaultBalanceOnChain) return undefined;
    if (systemClock.monotonicMs() > deadline) return `ledger and chain differ: ${JSON.stringify(view)}`;
    await systemClock.sleep(500);
  }
}

/** How often the token says that each nonce was used, by nonce. */
async function usedNonces(target: DemoTarget, sinceBlock: bigint): Promise<ReadonlyMap<string, number>> {
  // keccak256("AuthorizationUsed(address,bytes32)")
  const topic = '0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5';
  const logs = (await jsonRpc(target.deployment.rpcUrl).call('eth_getLogs', [
    { fromBlock: `0x${sinceBlock.toString(16)}`, toBlock: 'latest', address: target.deployment.usdc, topics: [topic] },
  ])) as { topics: string[] }[];
  const used = new Map<string, number>();
  for (const log of logs) {
    const nonce = log.topics[2] ?? '';
    used.set(nonce, (used.get(nonce) ?? 0) + 1);
  }
  return used;
}

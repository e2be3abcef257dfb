import { jsonRpc } from '@settlement/chain/rpc';
import { moneyVerdict } from '../money';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';
import { SteadyLoad } from '../steady-load';

const PAYMENTS = 500;
const CONCURRENCY = 16;

/** The cluster was installed by the runner right before; what that took is among its figures. */
export const payments: Scenario = {
  name: 'payments',
  hypothesis: '500 payments settle and reconcile on Kafka',
  async run(proof) {
    const { target, observer, abort } = proof;
    const feeds = await proof.cluster.kubectl(['get', 'configmaps', '-n', 'settlement', '-o', 'jsonpath={range .items[*]}{.metadata.name}={.data.FEED} {end}']);
    proof.check('every service takes its facts from Kafka', (feeds.match(/=kafka/g) ?? []).length === 5, feeds.trim());
    const sinceBlock = BigInt(String(await jsonRpc(target.deployment.rpcUrl).call('eth_blockNumber', []))) + 1n;
    const load = await SteadyLoad.prepare(target, { label: 'payments', perSecond: 1, merchants: 10 });
    const startedAtMs = performance.now();
    await load.burst(PAYMENTS, CONCURRENCY);
    proof.figure('500 payments accepted after', seconds(performance.now() - startedAtMs));
    const money = await moneyVerdict(target, load, observer, sinceBlock, abort);
    proof.figure('500 payments settled, paid out and reconciled after', seconds(performance.now() - startedAtMs));
    proof.check('no failed request', load.failures.length === 0, load.failures.length === 0 ? `${load.requests.length} requests, each sent once` : `${load.failures.length} failed: ${load.failures[0]?.failure ?? ''}`);
    proof.check('each payment is collected once, paid out once and reconciled', money.ok, money.detail);
  },
};

/** One payment, from request to its merchant's address: that the installation works at all. */
export async function firstPayment(proof: Proof): Promise<void> {
  const { target, observer, abort } = proof;
  const sinceBlock = BigInt(String(await jsonRpc(target.deployment.rpcUrl).call('eth_blockNumber', []))) + 1n;
  const load = await SteadyLoad.prepare(target, { label: 'first', perSecond: 1, merchants: 1 });
  const startedAtMs = performance.now();
  await load.burst(1, 1);
  const money = await moneyVerdict(target, load, observer, sinceBlock, abort);
  proof.check('the first payment is paid out and reconciled', money.ok && load.failures.length === 0, load.failures[0]?.failure ?? money.detail);
  proof.figure('first payment, request to reconciled', seconds(performance.now() - startedAtMs));
}

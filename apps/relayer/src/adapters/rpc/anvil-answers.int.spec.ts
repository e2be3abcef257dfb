import { readFileSync, writeFileSync } from 'node:fs';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEV_RELAYER_KEY } from '../../../test/relayer-world';
import type { UnsignedTransaction } from '../../ports/signer';
import { Secp256k1Signer } from '../secp256k1-signer';
import { classify } from './answer-classification.policy';
import { recordedAnswers, type RecordedAnswer } from './fixtures/recorded-answers';

/** A development key of anvil's mnemonic, public; the other belongs to nobody and holds nothing. */
const SENDER = DEV_RELAYER_KEY;
const UNFUNDED = `0x${'5'.repeat(64)}`;
const GWEI = 1_000_000_000n;

let anvil: Anvil;
let rpc: JsonRpc;
let version = '';

beforeAll(async () => {
  anvil = await startAnvil({ blockTimeMs: 3_600_000 });
  rpc = jsonRpc(anvil.rpcUrl);
  version = String(await rpc.call('web3_clientVersion', []));
});

afterAll(async () => {
  await anvil.stop();
});

async function signed(key: string, change: Partial<UnsignedTransaction>): Promise<HexBytes> {
  const request: UnsignedTransaction = {
    chainId: 31337n,
    nonce: 0n,
    to: '0x70997970c51812dc3a010c7d01b50e0d17dc79c8' as EvmAddress,
    data: '0x' as HexBytes,
    gasLimit: 21_000n,
    valueWei: 0n,
    feePerGasWeiMax: 10n * GWEI,
    priorityFeePerGasWeiMax: GWEI,
    ...change,
  };
  return (await new Secp256k1Signer(key).sign(request)).raw;
}

/** What a real anvil says to each, as it would be recorded. */
async function provoke(): Promise<RecordedAnswer[]> {
  const answers: RecordedAnswer[] = [];
  const send = async (provoked: string, raw: HexBytes): Promise<void> => {
    const [answer] = await rpc.batch([{ method: 'eth_sendRawTransaction', params: [raw] }]);
    if (answer === undefined) throw new Error('no answer');
    const result = classify(answer.ok ? { kind: 'result' } : { kind: 'error', ...answer.error });
    answers.push({
      client: 'anvil',
      source: version.split('-')[0] ?? version,
      request: provoked,
      code: answer.ok ? null : answer.error.code,
      message: answer.ok ? null : answer.error.message,
      outcome: result.outcome,
      ...(result.outcome === 'refused' ? { reason: result.reason } : {}),
    });
  };
  const first = await signed(SENDER, {});
  await send('a transfer', first);
  await send('the same bytes again while they are pending', first);
  await send('the same nonce with fees up by 5 percent', await signed(SENDER, { feePerGasWeiMax: (10n * GWEI * 105n) / 100n, priorityFeePerGasWeiMax: (GWEI * 105n) / 100n }));
  await send('the same nonce for lower fees', await signed(SENDER, { feePerGasWeiMax: 9n * GWEI, priorityFeePerGasWeiMax: GWEI / 2n }));
  await rpc.call('evm_mine', []);
  await send('the same bytes again once they are mined', first);
  await send('other bytes of a nonce that is mined', await signed(SENDER, { gasLimit: 22_000n }));
  await send('a fee below the base fee', await signed(SENDER, { nonce: 1n, feePerGasWeiMax: 1n, priorityFeePerGasWeiMax: 1n }));
  await send('a sender without money', await signed(UNFUNDED, {}));
  await send('less gas than any transaction needs', await signed(SENDER, { nonce: 1n, gasLimit: 20_000n }));
  await send('more gas than a block holds', await signed(SENDER, { nonce: 1n, gasLimit: 70_000_000n }));
  await send('signed for another chain', await signed(SENDER, { nonce: 1n, chainId: 1n }));
  await send('bytes that are no transaction', '0x02c0' as HexBytes);
  await send('no bytes', '0x' as HexBytes);
  await send('a nonce from the future', await signed(SENDER, { nonce: 7n }));
  return answers;
}

describe('what anvil answers', () => {
  it('is what was recorded of it, and none of it is unclassified', async () => {
    const live = await provoke();
    if (process.env['RECORD_NODE_ANSWERS'] === '1') {
      // A person runs this after an upgrade of the node, and reads the difference.
      const path = new URL('fixtures/node-answers.json', import.meta.url);
      const others = (JSON.parse(readFileSync(path, 'utf8')) as RecordedAnswer[]).filter((it) => it.client !== 'anvil');
      writeFileSync(path, `[\n${[...others, ...live].map((it) => `  ${JSON.stringify(it)}`).join(',\n')}\n]\n`);
    }
    expect(live).toEqual(recordedAnswers().filter((it) => it.client === 'anvil'));
    expect(live.filter((it) => it.outcome === 'unknown')).toEqual([]);
  });
});

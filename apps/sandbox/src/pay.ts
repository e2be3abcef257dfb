import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fromHex } from '@settlement/chain/hex';
import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import { formatUnits, parseDecimal, type TokenUnits } from '@settlement/kernel/money';
import { ApiClient } from './api-client';
import { authorize } from './payer';
import { runningSandbox } from './sandbox-file';

const help = `npm run pay -- --amount 1.25 [options]

Signs and submits a payment as a payer would, to the sandbox that \`npm start\` runs, and follows it to its end.

  --amount A       in USDC, such as 1.25 (required)
  --payer N        which of the sandbox's payers     (default 0)
  --merchant N     which of the sandbox's merchants  (default 0)
  --reference R    the merchant's own reference      (default: a new one)
  --until S        stop following at this status     (default paid_out)
  --json           the final payment as JSON on standard output
  --help           this text

Exit code 0 when the payment reached that status, 3 when it was refused or held.
`;

/** In the order in which a payment goes through them. */
const progress = ['awaiting_authorization', 'accepted', 'submitted', 'collected', 'paid_out'];
const giveUpMs = 120_000;

async function main(): Promise<number> {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        amount: { type: 'string' },
        payer: { type: 'string', default: '0' },
        merchant: { type: 'string', default: '0' },
        reference: { type: 'string' },
        until: { type: 'string', default: 'paid_out' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (values.amount === undefined) return usage('--amount is missing');
  const amount = parseDecimal(values.amount, 6);
  if (!amount.ok) return usage(`--amount: ${amount.issues[0]?.message ?? 'not an amount'}`);
  if (!progress.includes(values.until)) return usage(`--until: expected one of ${progress.join(', ')}`);
  const sandbox = runningSandbox();
  const payer = sandbox.payers[Number(values.payer)];
  const merchant = sandbox.merchants[Number(values.merchant)];
  if (payer === undefined) return usage(`--payer: expected 0 to ${sandbox.payers.length - 1}`);
  if (merchant === undefined) return usage(`--merchant: expected 0 to ${sandbox.merchants.length - 1}`);

  const say = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);
  const api = new ApiClient(sandbox.api.url, merchant.apiKey);
  const reference = values.reference ?? `pay-${randomUUID()}`;
  const startedAtMs = systemClock.monotonicMs();
  const elapsed = (): string => `${((systemClock.monotonicMs() - startedAtMs) / 1_000).toFixed(1).padStart(5)} s`;

  const created = await api.submit(
    'POST',
    '/v1/payments',
    { amount: amount.value.toString(), token: 'USDC', chain: sandbox.chain.chainId, reference, payer: payer.address },
    randomUUID(),
  );
  if (created.status !== 201) return refusal(created.body);
  const id = String(created.body['id']);
  const typedData = created.body['typedData'] as { domain: Record<string, string>; message: Record<string, string> };
  say(`${elapsed()}  created ${id}: ${formatUnits(amount.value, 6)} USDC for merchant ${merchant.id}`);
  const authorization = authorize(
    { address: payer.address as EvmAddress, privateKey: fromHex(payer.privateKey) },
    {
      name: typedData.domain['name'] ?? '',
      version: typedData.domain['version'] ?? '',
      chainId: BigInt(typedData.domain['chainId'] ?? '0'),
      verifyingContract: typedData.domain['verifyingContract'] as EvmAddress,
    },
    {
      from: payer.address as EvmAddress,
      to: typedData.message['to'] as EvmAddress,
      value: BigInt(typedData.message['value'] ?? '0') as TokenUnits,
      validAfter: BigInt(typedData.message['validAfter'] ?? '0'),
      validBefore: BigInt(typedData.message['validBefore'] ?? '0'),
      nonce: typedData.message['nonce'] as Bytes32,
    },
  );
  const accepted = await api.submit('POST', `/v1/payments/${id}/authorization`, authorization, randomUUID());
  if (accepted.status >= 300) return refusal(accepted.body);

  let status = '';
  while (systemClock.monotonicMs() - startedAtMs < giveUpMs) {
    const { body } = await api.request('GET', `/v1/payments/${id}`);
    const now = String(body['status']);
    if (now !== status) {
      status = now;
      const hash = typeof body['transactionHash'] === 'string' ? `  ${body['transactionHash']}` : '';
      say(`${elapsed()}  ${status}${hash}`);
    }
    if (status === 'refused' || status === 'held') {
      if (values.json) process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
      else say(JSON.stringify(body['refusal'] ?? {}));
      return 3;
    }
    if (progress.indexOf(status) >= progress.indexOf(values.until)) {
      if (values.json) process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
      return 0;
    }
    await systemClock.sleep(100);
  }
  process.stderr.write(`payment ${id} is still ${status} after ${giveUpMs / 1_000} s; look with: npm run events -- show payment-${id} --service gateway\n`);
  return 1;
}

function usage(problem: string): number {
  process.stderr.write(`${problem}\n\n${help}`);
  return 2;
}

function refusal(body: Record<string, unknown>): number {
  process.stderr.write(`refused: ${JSON.stringify(body, null, 2)}\n`);
  return 3;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof OperationalError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

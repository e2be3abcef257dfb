import { jsonRpc } from '@settlement/chain/rpc';
import type { EvmAddress } from '@settlement/kernel/address';
import type { LocalDeployment } from '@settlement/local-stack/deploy';
import { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import { grpcClient } from '@settlement/rpc/grpc-client';
import type { CertificateSource } from '@settlement/rpc/tls/certificate-source';
import type { System } from './system';

/** Where the chain is and what stands on it. */
export interface OnChain {
  readonly deployment: Pick<LocalDeployment, 'rpcUrl' | 'usdc' | 'vault'>;
}

const selector = { balanceOf: '70a08231' };

function word(hex: string): string {
  return hex.replace(/^0x/, '').padStart(64, '0');
}

/** USDC minor units of each address, in one round trip, at the latest block. */
export async function tokenBalances(system: OnChain, addresses: readonly EvmAddress[]): Promise<bigint[]> {
  const rpc = jsonRpc(system.deployment.rpcUrl);
  const answers = await rpc.batch(addresses.map((address) => ({ method: 'eth_call', params: [{ to: system.deployment.usdc, data: `0x${selector.balanceOf}${word(address)}` }, 'latest'] })));
  return answers.map((answer) => {
    if (!answer.ok) throw new Error(`balanceOf failed: ${answer.error.message}`);
    return BigInt(String(answer.result));
  });
}

export interface LedgerView {
  readonly sumOfPostings: string;
  readonly merchantPayable: string;
  readonly vaultBalanceOnLedger: string;
  readonly vaultBalanceOnChain: string;
  readonly breaks: number;
}

/** The ledger beside the chain, after a reconciliation made now. */
export async function ledgerView(system: Pick<System, 'grpcAddresses'> & OnChain, certificates?: CertificateSource): Promise<LedgerView> {
  const client = grpcClient(BatchSettlementServiceService, system.grpcAddresses['batch-settlement'], { certificates, defaultDeadlineMs: 30_000 });
  try {
    await client.reconcile({}, { idempotent: true });
    const { tokens } = await client.getLedger({}, { idempotent: true });
    const { breaks } = await client.listBreaks({ includeClosed: false }, { idempotent: true });
    const usdc = tokens.find((token) => token.token === 'USDC');
    const [vaultBalance] = await tokenBalances(system, [system.deployment.vault]);
    return {
      sumOfPostings: usdc?.sumOfPostings ?? '0',
      merchantPayable: usdc?.merchantPayableMinor ?? '0',
      vaultBalanceOnLedger: usdc?.vaultBalanceLedgerMinor ?? '0',
      vaultBalanceOnChain: (vaultBalance ?? 0n).toString(),
      breaks: breaks.length,
    };
  } finally {
    client.close();
  }
}

/** How often each (authorizer, nonce) was used according to the token's own AuthorizationUsed logs since `fromBlock`; more than once is impossible. */
export async function authorizationsUsed(system: OnChain, fromBlock = 0n): Promise<{ readonly used: number; readonly twice: number }> {
  const rpc = jsonRpc(system.deployment.rpcUrl);
  // keccak256("AuthorizationUsed(address,bytes32)")
  const topic = '0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5';
  const logs = (await rpc.call('eth_getLogs', [{ fromBlock: `0x${fromBlock.toString(16)}`, toBlock: 'latest', address: system.deployment.usdc, topics: [topic] }])) as { topics: string[] }[];
  const seen = new Set(logs.map((log) => log.topics.slice(1).join('/')));
  return { used: logs.length, twice: logs.length - seen.size };
}


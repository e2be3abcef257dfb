import { jsonRpc } from '@settlement/chain/rpc';
import type { System } from '../../src/system';

export interface ChainCosts {
  readonly transactions: number;
  readonly gas: bigint;
  /** Mined and reverted: gas paid for nothing. */
  readonly burned: number;
}

interface Receipt {
  readonly from: string;
  readonly gasUsed: string;
  readonly status: string;
}

export async function headOf(system: System): Promise<number> {
  return Number(await jsonRpc(system.anvil.rpcUrl).call('eth_blockNumber', []));
}

/** What the senders' transactions in the blocks after `from`, up to and with `to`, cost on the chain, whoever says what of them. */
export async function costsOf(system: System, senders: readonly string[], from: number, to: number): Promise<ChainCosts> {
  const rpc = jsonRpc(system.anvil.rpcUrl);
  const mine = new Set(senders.map((sender) => sender.toLowerCase()));
  let transactions = 0;
  let gas = 0n;
  let burned = 0;
  for (let number = from + 1; number <= to; number += 1) {
    const receipts = (await rpc.call('eth_getBlockReceipts', [`0x${number.toString(16)}`])) as readonly Receipt[];
    for (const { from: sender, gasUsed, status } of receipts) {
      if (!mine.has(sender.toLowerCase())) continue;
      transactions += 1;
      gas += BigInt(gasUsed);
      if (BigInt(status) === 0n) burned += 1;
    }
  }
  return { transactions, gas, burned };
}

/** As the columns of a result. */
export function costColumns({ transactions, gas, burned }: ChainCosts, items: number): { readonly transactions: number; readonly gasPerItem: number; readonly burned: number } {
  return { transactions, gasPerItem: items === 0 ? 0 : Number(gas / BigInt(items)), burned };
}

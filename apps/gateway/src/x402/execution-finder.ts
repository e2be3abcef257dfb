import { AUTHORIZATION_USED_TOPIC, TOKEN_TRANSFER_TOPIC } from '@settlement/chain/contract-codec';
import { addressWord, uintHex } from '@settlement/chain/hex';
import type { ChainId, EvmAddress } from '@settlement/kernel/address';
import type { Clock } from '@settlement/kernel/time';
import type { PaymentChain } from '../ports/payment-chain';
import type { DirectAuthorization, Execution } from './settlement.events';

/** What must have been executed for a payment to have been made. */
export interface SoughtPayment {
  readonly chainId: ChainId;
  readonly tokenAddress: EvmAddress;
  readonly payer: EvmAddress;
  readonly payee: EvmAddress;
  readonly amount: bigint;
  readonly authorization: DirectAuthorization;
}

/** Who signs without a beginning may have done so long ago; farther back no node is asked. */
const SECONDS_BACK_MAX = 7 * 86_400;

/**
 * Finds the transaction that executed an authorization, whoever sent it. Anyone may: that the payee has been paid is what
 * counts, so the finding is proved by the token's own logs, never by a sender's word.
 *
 * An authorization's nonce can also be used up by another message with the same nonce (a receiveWithAuthorization, another
 * payee): the transfer that stands right beside the use in the same block must be the one that was sought.
 */
export class ExecutionFinder {
  constructor(
    private readonly chains: ReadonlyMap<string, PaymentChain>,
    private readonly clock: Clock,
  ) {}

  /** Undefined when the chain shows none. Throws `OperationalError` when it cannot be asked. */
  async find(payment: SoughtPayment, block?: bigint): Promise<Execution | undefined> {
    const chain = this.chains.get(payment.chainId);
    if (chain === undefined) throw new Error(`no chain for ${payment.chainId}`);
    const within = block === undefined ? { secondsBack: this.secondsBack(payment.authorization.validAfter) } : { block };
    return payment.authorization.method === 'eip3009' ? findUse(chain, payment, payment.authorization.nonce, within) : findPermit(chain, payment, payment.authorization.signature, within);
  }

  private secondsBack(validAfter: bigint): number {
    const age = Math.floor(this.clock.nowMs() / 1_000) - Number(validAfter);
    return Math.min(Math.max(age, 60), SECONDS_BACK_MAX);
  }
}

type Within = Parameters<PaymentChain['logs']>[2];

const topicOf = (address: EvmAddress): string => `0x${addressWord(address)}`;

function transfersOf(chain: PaymentChain, { tokenAddress, payer, payee }: SoughtPayment, within: Within) {
  return chain.logs(tokenAddress, [TOKEN_TRANSFER_TOPIC, topicOf(payer), topicOf(payee)], within);
}

async function findUse(chain: PaymentChain, payment: SoughtPayment, nonce: string, within: Within): Promise<Execution | undefined> {
  const [use] = await chain.logs(payment.tokenAddress, [AUTHORIZATION_USED_TOPIC, topicOf(payment.payer), nonce], within);
  if (use === undefined) return undefined;
  const { transactionHash, blockNumber, logIndex } = use;
  const transfers = await transfersOf(chain, payment, { block: blockNumber });
  const amount = `0x${uintHex(payment.amount, 32)}`;
  const paid = transfers.some((transfer) => transfer.transactionHash === transactionHash && Math.abs(transfer.logIndex - logIndex) === 1 && transfer.data === amount);
  return paid ? { transactionHash, blockNumber } : undefined;
}

/** Permit2 logs no use of a permit: a transfer of this amount whose transaction carries this very signature is its execution. */
async function findPermit(chain: PaymentChain, payment: SoughtPayment, signature: string, within: Within): Promise<Execution | undefined> {
  const amount = `0x${uintHex(payment.amount, 32)}`;
  for (const { transactionHash, blockNumber, data } of await transfersOf(chain, payment, within)) {
    if (data !== amount) continue;
    const input = await chain.inputOf(transactionHash);
    if (input?.toLowerCase().includes(signature.slice(2)) === true) return { transactionHash, blockNumber };
  }
  return undefined;
}

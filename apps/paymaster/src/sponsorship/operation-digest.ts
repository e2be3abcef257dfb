import { createHash } from 'node:crypto';
import type { UserOperation } from '@settlement/chain/user-operation';
import type { Bytes32, ChainId, EvmAddress } from '@settlement/kernel/address';
import type { SponsorId } from '@settlement/kernel/ids';

export interface OperationPlace {
  readonly sponsorId: SponsorId;
  readonly chainId: ChainId;
  readonly entryPoint: EvmAddress;
}

/**
 * What makes two questions the same: every field that the client chose. Not the signature, which comes after the answer, and
 * not the paymaster's fields, which are the answer.
 */
export function operationDigest(operation: UserOperation, { sponsorId, chainId, entryPoint }: OperationPlace): string {
  const fields = [
    sponsorId, chainId, entryPoint, operation.sender, operation.nonce, operation.factory ?? '', operation.factoryData, operation.callData, operation.callGasLimit,
    operation.verificationGasLimit, operation.preVerificationGas, operation.feePerGasWeiMax, operation.priorityFeePerGasWeiMax,
  ];
  return createHash('sha256').update(fields.join('\n')).digest('hex');
}

/** The sponsorship's id, and its key on the chain. */
export function sponsorshipIdOf(digest: string, generation: number): Bytes32 {
  return `0x${createHash('sha256').update(`sponsorship\n${digest}\n${generation}`).digest('hex')}` as Bytes32;
}

import type { AccountCall } from '@settlement/chain/account-calls';
import type { EvmAddress } from '@settlement/kernel/address';

/** transfer, approve, transferFrom, and both increase/decrease relatives of approve: where in the arguments money's receiver stands. */
const RECEIVER_WORD: ReadonlyMap<string, number> = new Map([
  ['0xa9059cbb', 0], // transfer(address,uint256)
  ['0x095ea7b3', 0], // approve(address,uint256)
  ['0x39509351', 0], // increaseAllowance(address,uint256)
  ['0x23b872dd', 1], // transferFrom(address,address,uint256)
  ['0x42842e0e', 1], // safeTransferFrom(address,address,uint256)
]);

/** A screening takes at most 256 parties, and one is the sender. */
const PAYEES_MAX = 255;

/**
 * Everybody whom the calls reach directly: the contracts, and who receives tokens or an allowance by a standard call.
 * Undefined when they are more than one screening takes: what cannot be screened as a whole is not sponsored.
 */
export function payeesOf(calls: readonly AccountCall[]): readonly EvmAddress[] | undefined {
  const payees = new Set<EvmAddress>();
  for (const { to, data } of calls) {
    payees.add(to);
    const word = RECEIVER_WORD.get(data.slice(0, 10));
    if (word === undefined) continue;
    const argument = data.slice(10 + word * 64, 74 + word * 64);
    if (/^0{24}[0-9a-f]{40}$/.test(argument)) payees.add(`0x${argument.slice(24)}` as EvmAddress);
  }
  return payees.size > PAYEES_MAX ? undefined : [...payees];
}

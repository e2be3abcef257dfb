import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { AbiCoder } from 'ethers';
import { selector } from './contract-codec';

/** One call that an account makes when its operation executes. */
export interface AccountCall {
  readonly to: EvmAddress;
  readonly valueWei: bigint;
  readonly data: HexBytes;
}

/**
 * The calls inside an operation's call data, for the accounts that wallets use: SimpleAccount of entry points v0.6 to v0.8,
 * Safe's 4337 module, and ERC-7579 accounts (Kernel v3, Nexus, Safe7579). `undefined` for anything else, and for what looks
 * like one of these but is not exactly so: a policy must never read other calls than the account will make.
 *
 * ERC-7579 modes: single and batch call only. A delegate call runs foreign code as the account and a static call does
 * nothing, so both are undecodable here on purpose.
 */
export function accountCallsOf(callData: HexBytes): readonly AccountCall[] | undefined {
  const selector = callData.slice(0, 10);
  const decoder = DECODERS.get(selector);
  if (decoder === undefined) return undefined;
  try {
    return decoder(`0x${callData.slice(10)}`);
  } catch (error) {
    // ethers says so when the arguments are not what the selector promises; the account would revert or read something else.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

/** First 4 bytes, or empty when the call carries none: a plain transfer, or a fallback function. */
export const selectorOf = (data: HexBytes): string => (data.length >= 10 ? data.slice(0, 10) : '');

const CALLS_MAX = 100;
const coder = AbiCoder.defaultAbiCoder();

type Decoder = (args: string) => readonly AccountCall[] | undefined;

/** Decodes, and only when encoding again gives the same bytes: no hidden tails, no overlapping offsets. */
function exactly(types: readonly string[], args: string): readonly unknown[] | undefined {
  const values = [...coder.decode(types, args)] as unknown[];
  return coder.encode(types, values).toLowerCase() === args.toLowerCase() ? values : undefined;
}

const call = (to: unknown, value: unknown, data: unknown): AccountCall => ({
  to: String(to).toLowerCase() as EvmAddress,
  valueWei: BigInt(String(value)),
  data: String(data).toLowerCase() as HexBytes,
});

function single(types: readonly string[]): Decoder {
  return (args) => {
    const values = exactly(types, args);
    return values === undefined ? undefined : [call(values[0], values[1], values[2])];
  };
}

const batchOfTuples: Decoder = (args) => {
  const values = exactly(['tuple(address,uint256,bytes)[]'], args);
  const items = values?.[0];
  if (!Array.isArray(items) || items.length > CALLS_MAX) return undefined;
  return items.map((item: readonly unknown[]) => call(item[0], item[1], item[2]));
};

/** SimpleAccount v0.7: values may be left out, which means no value for any. */
const batchOfArrays: Decoder = (args) => {
  const values = exactly(['address[]', 'uint256[]', 'bytes[]'], args);
  if (values === undefined) return undefined;
  const [to, amounts, data] = values;
  if (!Array.isArray(to) || !Array.isArray(amounts) || !Array.isArray(data)) return undefined;
  if (to.length !== data.length || (amounts.length !== 0 && amounts.length !== to.length) || to.length > CALLS_MAX) return undefined;
  return to.map((target: unknown, i) => call(target, amounts.length === 0 ? 0n : amounts[i], data[i]));
};

/** SimpleAccount v0.6: no values. */
const batchWithoutValues: Decoder = (args) => {
  const values = exactly(['address[]', 'bytes[]'], args);
  if (values === undefined) return undefined;
  const [to, data] = values;
  if (!Array.isArray(to) || !Array.isArray(data) || to.length !== data.length || to.length > CALLS_MAX) return undefined;
  return to.map((target: unknown, i) => call(target, 0n, data[i]));
};

/** Safe's module: executeUserOp(to, value, data, operation); operation 1 is a delegate call. */
const safe: Decoder = (args) => {
  const values = exactly(['address', 'uint256', 'bytes', 'uint8'], args);
  return values === undefined || values[3] !== 0n ? undefined : [call(values[0], values[1], values[2])];
};

/** ERC-7579 execute(bytes32 mode, bytes executionCalldata). Mode: call type, exec type, then what the account may ignore. */
const erc7579: Decoder = (args) => {
  const values = exactly(['bytes32', 'bytes'], args);
  if (values === undefined) return undefined;
  const mode = String(values[0]);
  const calldata = String(values[1]);
  const execType = mode.slice(4, 6);
  if (execType !== '00' && execType !== '01') return undefined;
  switch (mode.slice(2, 4)) {
    case '00':
      // Packed: target 20 bytes, value 32 bytes, data.
      if (calldata.length < 2 + 104) return undefined;
      return [call(`0x${calldata.slice(2, 42)}`, BigInt(`0x${calldata.slice(42, 106)}`), `0x${calldata.slice(106)}`)];
    case '01':
      return batchOfTuples(calldata);
    default:
      return undefined;
  }
};

const DECODERS: ReadonlyMap<string, Decoder> = new Map<string, Decoder>([
  [selector('execute(address,uint256,bytes)'), single(['address', 'uint256', 'bytes'])],
  [selector('executeBatch(address[],uint256[],bytes[])'), batchOfArrays],
  [selector('executeBatch(address[],bytes[])'), batchWithoutValues],
  [selector('executeBatch((address,uint256,bytes)[])'), batchOfTuples],
  [selector('executeUserOp(address,uint256,bytes,uint8)'), safe],
  [selector('executeUserOpWithErrorString(address,uint256,bytes,uint8)'), safe],
  [selector('execute(bytes32,bytes)'), erc7579],
]);

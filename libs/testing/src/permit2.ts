import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonRpc } from '@settlement/chain/rpc';
import { exactPermit2ProxyStandInBytecode } from '@settlement/contracts/generated/ExactPermit2ProxyStandIn';
import type { EvmAddress } from '@settlement/kernel/address';
import { invariant } from '@settlement/kernel/errors';
import { X402_PERMIT2_PROXY } from '@settlement/local-stack/deploy';
import { canonical, DETERMINISTIC_DEPLOYER } from '@settlement/local-stack/deploy-accounts';
import { peerPackages } from './peer-packages';

export const PERMIT2 = '0x000000000022d473030f116ddee9f6b43ac78ba3' as EvmAddress;
const SALT = '0x0000000000000000000000000000000000000000d3af2663da51c10215000000';
/** Nobody has a key for it: the node impersonates it. */
const SENDER = '0x5e7713ed00000000000000000000000000000006';

/**
 * Puts the real Permit2 at its canonical address, and a stand-in for the x402 proxy in front of it at the proxy's.
 *
 * Permit2's creation code comes from a published package and makes the canonical address, which proves that it is the code of
 * public chains. The proxy's code is in no package; its stand-in (libs/contracts/solidity/peers) has the same interface and
 * witness type and proves nothing about the real proxy's own code. Harmless when both are there.
 */
export async function deployPermit2(rpc: JsonRpc): Promise<void> {
  const { nodeModules } = await peerPackages('permit2');
  // Read, not run: the package exports no way to it, and the address below says whether these are the right bytes.
  const source = readFileSync(join(nodeModules, '@uniswap/uniswapx-sdk/dist/cjs/src/contracts/factories/Permit2__factory.js'), 'utf8');
  const [bytecode] = /0x60[0-9a-f]{10000,}/.exec(source) ?? [];
  invariant(bytecode !== undefined, 'PERMIT2_CODE_MISSING', 'the package holds no creation code of Permit2');
  const { data } = canonical(PERMIT2, SALT, bytecode);
  if ((await rpc.call('eth_getCode', [PERMIT2, 'latest'])) === '0x') {
    await rpc.call('anvil_impersonateAccount', [SENDER]);
    await rpc.call('anvil_setBalance', [SENDER, `0x${(10n ** 20n).toString(16)}`]);
    await rpc.call('eth_sendTransaction', [{ from: SENDER, to: DETERMINISTIC_DEPLOYER, data, gas: '0xffffff' }]);
    await rpc.call('evm_mine', []);
    invariant((await rpc.call('eth_getCode', [PERMIT2, 'latest'])) !== '0x', 'PERMIT2_MISSING', 'Permit2 was not deployed');
  }
  // It has no constructor and no immutables: what creating it answers is the code to be put there.
  const code = await rpc.call('eth_call', [{ from: SENDER, data: exactPermit2ProxyStandInBytecode }, 'latest']);
  await rpc.call('anvil_setCode', [X402_PERMIT2_PROXY, code]);
}

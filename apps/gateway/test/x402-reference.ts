import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { repositoryRoot } from '@settlement/config/repository-root';
import { x402Facilitator } from '@x402/core/facilitator';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/facilitator';
import { jsonRpc } from '@settlement/chain/rpc';
import { createWalletClient, http, publicActions } from 'viem';
import { newAccount, type X402Request } from './x402-payloads';

export interface ReferenceFacilitator {
  /** `throws` where it does not answer but throws, which its HTTP servers make a 500 of. */
  verify(request: X402Request): Promise<{ readonly isValid: boolean; readonly invalidReason?: string | undefined } | { readonly throws: string }>;
}

/** The SDK's own facilitator on a chain, to be compared with. It diagnoses through Multicall3, so that is put where it belongs. */
export async function referenceFacilitator(rpcUrl: string, chainId: number, networks: { readonly v1: string; readonly v2: string }, walletFactories: readonly string[]): Promise<ReferenceFacilitator> {
  await placeMulticall3(rpcUrl);
  const account = newAccount();
  const client = createWalletClient({
    account,
    chain: { id: chainId, name: 'local', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 }, rpcUrls: { default: { http: [rpcUrl] } } },
    transport: http(rpcUrl),
  }).extend(publicActions);
  const signer = {
    getAddresses: () => [account.address],
    readContract: (args: object) => client.readContract(args as never),
    verifyTypedData: (args: object) => client.verifyTypedData(args as never),
    writeContract: (args: object) => client.writeContract(args as never),
    sendTransaction: (args: object) => client.sendTransaction(args as never),
    waitForTransactionReceipt: (args: object) => client.waitForTransactionReceipt(args as never),
    getCode: (args: object) => client.getCode(args as never),
  };
  const config = { eip6492AllowedFactories: [...walletFactories] };
  const facilitator = new x402Facilitator();
  facilitator.register(networks.v2 as `${string}:${string}`, new ExactEvmScheme(signer as never, config));
  facilitator.registerV1(networks.v1 as never, new ExactEvmSchemeV1(signer as never, config));
  return {
    async verify({ paymentPayload, paymentRequirements }) {
      try {
        const { isValid, invalidReason } = await facilitator.verify(structuredClone(paymentPayload), structuredClone(paymentRequirements));
        return { isValid, invalidReason };
      } catch (error) {
        return { throws: error instanceof Error ? error.message : String(error) };
      }
    },
  };
}

export async function placeMulticall3(rpcUrl: string): Promise<void> {
  const rpc = jsonRpc(rpcUrl);
  const from = newAccount().address;
  // viem has the code for its own use and does not export it.
  const constants: unknown = await import(pathToFileURL(join(repositoryRoot, 'node_modules/viem/_esm/constants/contracts.js')).href);
  const { multicall3Bytecode } = constants as { readonly multicall3Bytecode: string };
  // What the constructor would leave is what a call of it answers.
  const code = await rpc.call('eth_call', [{ from, data: multicall3Bytecode }, 'latest']);
  await rpc.call('anvil_setCode', ['0xcA11bde05977b3631167028862bE2a173976CA11', code]);
}

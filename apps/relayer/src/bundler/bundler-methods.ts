import { PAYMASTER_POST_OP_GAS, PAYMASTER_VERIFICATION_GAS } from '@settlement/chain/sponsor-paymaster';
import { quantity } from '@settlement/chain/hex';
import { parseUserOperation, userOperationFromMessage, userOperationToJson, type MissingAllowed } from '@settlement/chain/user-operation-json';
import type { UserOperation } from '@settlement/chain/user-operation';
import { eip155Number, parseBytes32, parseEvmAddress, type Bytes32, type EvmAddress } from '@settlement/kernel/address';
import { InvalidInput } from '@settlement/kernel/errors';
import { IntentState, type IntentStatus, type UserOperationIntent } from '@settlement/proto/relayer/v1/relayer';
import { INVALID_PARAMS, JsonRpcError } from '@settlement/rpc/json-rpc-error';
import type { JsonRpcCall, JsonRpcMethod } from '@settlement/rpc/json-rpc-server';
import type { BundledEntryPoint, MinedTransaction, OperationNode } from '../ports/operation-node';
import { intentIdOf, type Bundler } from './bundler';
import { operationReceipt } from './operation-receipt';

/** One chain's bundler and where its operations are looked up. */
export interface BundledChain {
  readonly bundler: Bundler;
  readonly node: OperationNode;
  status(intentId: string): Promise<IntentStatus | undefined>;
  operation(intentId: string): Promise<UserOperationIntent | undefined>;
}

const CLIENT_VERSION = 'settlement-relayer/0.1.0';

/** ERC-4337's JSON-RPC (ERC-7769). With several chains the number in `/rpc/<chain id>` chooses one; else the first. */
export function bundlerMethods(chains: readonly BundledChain[]): Readonly<Record<string, JsonRpcMethod>> {
  const chainOf = (call: JsonRpcCall): BundledChain => {
    const named = call.key === undefined ? undefined : chains.find(({ bundler }) => eip155Number(bundler.chainId).toString() === call.key);
    const chain = call.key === undefined ? chains[0] : named;
    if (chain === undefined) {
      throw new JsonRpcError(INVALID_PARAMS, 'no such chain here', { reason: 'UNKNOWN_CHAIN', paths: chains.map(({ bundler }) => `/rpc/${eip155Number(bundler.chainId)}`) });
    }
    return chain;
  };

  return {
    eth_chainId: async (_params, call) => Promise.resolve(quantity(eip155Number(chainOf(call).bundler.chainId))),
    web3_clientVersion: () => Promise.resolve(CLIENT_VERSION),
    eth_supportedEntryPoints: async (_params, call) => Promise.resolve(chainOf(call).bundler.entryPoints.map(({ address }) => address)),

    async eth_sendUserOperation(params, call) {
      const { bundler } = chainOf(call);
      const { operation, entryPoint } = operationOf(params, bundler, {});
      return bundler.send(operation, entryPoint, call.traceparent);
    },

    async eth_estimateUserOperationGas(params, call) {
      const { bundler } = chainOf(call);
      const [, , overrides] = params;
      if (typeof overrides === 'object' && overrides !== null && Object.keys(overrides).length > 0) {
        throw new InvalidInput([{ path: 'stateOverrides', message: 'are not supported: an operation is estimated on the chain as it is' }]);
      }
      const { operation, entryPoint } = operationOf(params.slice(0, 2), bundler, { gas: true, fees: true, signature: true });
      const { preVerificationGas, verificationGasLimit, callGasLimit } = await bundler.estimate(operation, entryPoint);
      return {
        preVerificationGas: quantity(preVerificationGas),
        verificationGasLimit: quantity(verificationGasLimit),
        callGasLimit: quantity(callGasLimit),
        ...(operation.paymaster === undefined ? {} : { paymasterVerificationGasLimit: quantity(PAYMASTER_VERIFICATION_GAS), paymasterPostOpGasLimit: quantity(PAYMASTER_POST_OP_GAS) }),
      };
    },

    async eth_getUserOperationByHash(params, call) {
      const chain = chainOf(call);
      const hash = hashOf(params);
      const intent = await chain.operation(intentIdOf(hash));
      if (intent?.operation === undefined) return null;
      const mined = await minedBundle(chain, hash, intent);
      return {
        userOperation: userOperationToJson(userOperationFromMessage(intent.operation)),
        entryPoint: intent.entryPoint,
        // Null while pending, as for transactions.
        transactionHash: mined === undefined ? null : String(mined.bundle.receipt['transactionHash']),
        blockHash: mined?.bundle.blockHash ?? null,
        blockNumber: mined === undefined ? null : quantity(mined.bundle.blockNumber),
      };
    },

    async eth_getUserOperationReceipt(params, call) {
      const chain = chainOf(call);
      const hash = hashOf(params);
      const intent = await chain.operation(intentIdOf(hash));
      const mined = intent === undefined ? undefined : await minedBundle(chain, hash, intent);
      if (intent === undefined || mined === undefined) return null;
      return operationReceipt(hash, intent.entryPoint as EvmAddress, mined.bundle, mined.final) ?? null;
    },
  };
}

/** By the relayer's own log, also after a restart; where somebody else executed the operation, by the chain's. */
async function minedBundle(chain: BundledChain, hash: Bytes32, intent: UserOperationIntent): Promise<{ readonly bundle: MinedTransaction; readonly final: boolean } | undefined> {
  const entryPoint = intent.entryPoint as EvmAddress;
  const status = await chain.status(intentIdOf(hash));
  const final = status?.state === IntentState.INTENT_STATE_FINAL;
  if (status !== undefined && status.transactionHash !== '') {
    const bundle = await chain.node.mined(status.transactionHash);
    if (bundle !== undefined && operationReceipt(hash, entryPoint, bundle, final) !== undefined) return { bundle, final };
  }
  if (!final && status?.state !== IntentState.INTENT_STATE_FAILED) return undefined;
  const executedBy = await chain.node.executedBy(entryPoint, hash);
  const bundle = executedBy === undefined ? undefined : await chain.node.mined(executedBy);
  return bundle === undefined ? undefined : { bundle, final };
}

function operationOf(params: readonly unknown[], bundler: Bundler, missing: MissingAllowed): { readonly operation: UserOperation; readonly entryPoint: BundledEntryPoint } {
  if (params.length !== 2) throw new JsonRpcError(INVALID_PARAMS, 'expected [userOperation, entryPoint]');
  const [value, entryPoint] = params;
  const address = parseEvmAddress(entryPoint);
  const known = address.ok ? bundler.entryPoints.find((it) => it.address === address.value) : undefined;
  if (known === undefined) throw new InvalidInput([{ path: 'entryPoint', message: `expected one of ${bundler.entryPoints.map((it) => `${it.address} (v${it.version})`).join(', ')}` }]);
  const parsed = parseUserOperation(value, missing);
  if (!parsed.ok) throw new InvalidInput(parsed.issues.map(({ path, message }) => ({ path: path === '' ? 'userOperation' : `userOperation.${path}`, message })));
  return { operation: parsed.operation, entryPoint: known };
}

function hashOf(params: readonly unknown[]): Bytes32 {
  const hash = parseBytes32(params[0]);
  if (params.length !== 1 || !hash.ok) throw new InvalidInput([{ path: 'userOpHash', message: 'expected one hash: 0x and 64 hex digits' }]);
  return hash.value;
}

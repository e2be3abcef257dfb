import { jsonRpc } from '@settlement/chain/rpc';
import { transferWithAuthorizationCall } from '@settlement/chain/direct-payment';
import type { Bytes32, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import { IntentReason, IntentState, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import type { PrivateKeyAccount } from 'viem/accounts';
import type { FakePeers } from './fake-peers';
import { startGateway, startSurroundings, until, type Answer, type RunningGateway, type Surroundings } from './running-gateway';
import { eip3009Request, newAccount, type TokenForTests, type X402Request } from './x402-payloads';

/** Version 1 signs for chains that its SDK names, so the local chain takes the number of one of them. */
export const X402_CHAIN = 84_532;
export const V1_NETWORK = 'base-sepolia';
export const V2_NETWORK = `eip155:${X402_CHAIN}`;

/** A real chain with real USDC, a real gateway, and peers that keep the contract; the relayer's executes each intent at once. */
export interface X402Stage {
  readonly anvil: Anvil;
  readonly deployment: LocalDeployment;
  readonly token: TokenForTests;
  readonly around: Surroundings;
  readonly peers: FakePeers;
  /** Transactions that the relayer's stand-in sent. */
  readonly sent: string[];
  environment(): Readonly<Record<string, string>>;
  /** With some USDC. */
  payer(units?: bigint): Promise<PrivateKeyAccount>;
  request(version: 1 | 2, payer: PrivateKeyAccount, payTo: EvmAddress | `0x${string}`, amount?: bigint): Promise<X402Request>;
  /** Executes an authorization from an address that has nothing to do with anybody; the transaction's hash. */
  frontRun(request: X402Request): Promise<string>;
  /** What accepted intents do; `relay` unless a test says otherwise. */
  relay(intent: SubmitRequest): Promise<void>;
  balanceOf(address: string): Promise<bigint>;
  stop(): Promise<void>;
}

export async function startX402Stage(): Promise<X402Stage> {
  const [anvil, around] = await Promise.all([startAnvil({ chainId: X402_CHAIN }), startSurroundings()]);
  const lower = (): EvmAddress => newAccount().address.toLowerCase() as EvmAddress;
  const deployment = await deployLocal(anvil.rpcUrl, { admin: lower(), guardian: lower(), governor: lower(), epochKeeper: lower(), relayers: [] });
  const token = { chainId: X402_CHAIN, address: deployment.usdc, name: deployment.usdcDomain.name, version: deployment.usdcDomain.version };
  const rpc = jsonRpc(anvil.rpcUrl);
  const { peers } = around;
  const sent: string[] = [];
  const blockOf = async (hash: string): Promise<bigint> => {
    const receipt = (await rpc.call('eth_getTransactionReceipt', [hash])) as { blockNumber: string };
    return BigInt(receipt.blockNumber);
  };
  const execute = (sender: EvmAddress, terms: { from: string; to: string; value: bigint; validAfter: bigint; validBefore: bigint; nonce: string }, signature: string): Promise<string> =>
    deployment.sendAs(
      sender,
      deployment.usdc,
      transferWithAuthorizationCall({ ...terms, from: terms.from as EvmAddress, to: terms.to as EvmAddress, value: terms.value as TokenUnits, nonce: terms.nonce as Bytes32 }, signature as HexBytes),
    );
  const relayerKey = lower();
  const stage: X402Stage = {
    anvil, deployment, token, around, peers, sent,
    environment: () => ({
      CHAINS: JSON.stringify([
        {
          chainId: V2_NETWORK, mode: 'test', rpcUrls: [anvil.rpcUrl], vaultAddress: deployment.vault, transfersAddress: deployment.transfers, permit2ProxyAddress: deployment.permit2Proxy,
          walletFactories: [deployment.walletFactory], finalityDepth: 1, blockTimeMs: 500,
          tokens: [{ symbol: 'USDC', address: deployment.usdc, decimals: 6, eip712Name: token.name, eip712Version: token.version }],
        },
      ]),
      X402_ACCESS: 'open',
    }),
    async payer(units = 1_000_000n) {
      const account = newAccount();
      await deployment.mint(account.address.toLowerCase() as EvmAddress, units);
      return account;
    },
    request: (version, payer, payTo, amount = 10_000n) => eip3009Request(version, token, version === 1 ? V1_NETWORK : V2_NETWORK, payer, payTo, amount),
    async frontRun({ paymentPayload }) {
      const { authorization: a, signature } = paymentPayload.payload;
      return execute(lower(), { from: a.from, to: a.to, value: BigInt(a.value), validAfter: BigInt(a.validAfter), validBefore: BigInt(a.validBefore), nonce: a.nonce }, signature);
    },
    async relay({ intentId, kind }) {
      if (kind?.$case !== 'transfer' || kind.value.authorization === undefined) throw new Error('only transfers are relayed here');
      const { from, to, valueMinor, validAfter, validBefore, nonce, signature } = kind.value.authorization;
      try {
        const hash = await execute(relayerKey, { from, to, value: BigInt(valueMinor), validAfter, validBefore, nonce }, signature);
        sent.push(hash);
        peers.progress.set(intentId, { intentId, state: IntentState.INTENT_STATE_INCLUDED, reason: 0, transactionHash: hash, blockNumber: await blockOf(hash) });
      } catch {
        // The token reverted: as when somebody else was faster.
        peers.progress.set(intentId, { intentId, state: IntentState.INTENT_STATE_FAILED, reason: IntentReason.INTENT_REASON_AUTHORIZATION_USED, transactionHash: '', blockNumber: 0n });
      }
    },
    async balanceOf(address) {
      return BigInt(String(await rpc.call('eth_call', [{ to: deployment.usdc, data: `0x70a08231${address.slice(2).toLowerCase().padStart(64, '0')}` }, 'latest'])));
    },
    async stop() {
      await around.stop();
      await anvil.stop();
    },
  };
  peers.relay.accepted = (intent) => void stage.relay(intent);
  return stage;
}

export const post = (gateway: Pick<RunningGateway, 'call'>, what: 'verify' | 'settle', request: X402Request): Promise<Answer> =>
  gateway.call('POST', `/x402/${what}`, { body: { x402Version: request.paymentPayload.x402Version, ...request } });

export const startX402Gateway = (stage: X402Stage, overrides: Readonly<Record<string, string>> = {}): Promise<RunningGateway> => startGateway(stage.around, { ...stage.environment(), ...overrides });

export { until };

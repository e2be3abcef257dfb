import { randomBytes } from 'node:crypto';
import { domainSeparator, signAuthorization } from '@settlement/chain/eip3009';
import { addressOfPrivateKey } from '@settlement/chain/native-secp256k1';
import { jsonRpc, type JsonRpc } from '@settlement/chain/rpc';
import { asUnits, merchantBalance, tokenBalance } from '@settlement/chain/vault-views';
import { startAnvil, type Anvil } from '@settlement/local-stack/anvil';
import { deployLocal, type LocalDeployment } from '@settlement/local-stack/deploy';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import type { Bytes32, EvmAddress } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';

/** anvil's first development key: public, worth nothing, funded on every development chain. */
export const DEV_RELAYER_KEY = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';
const DEV_OTHER = '0x70997970c51812dc3a010c7d01b50e0d17dc79c8' as EvmAddress;

export interface Payer {
  readonly key: Uint8Array;
  readonly address: EvmAddress;
}

/** A real Postgres, a real EVM node with the real USDC and the vault, and payers with money. */
export interface RelayerWorld {
  readonly postgres: LocalPostgres;
  readonly anvil: Anvil;
  readonly chain: LocalDeployment;
  readonly rpc: JsonRpc;
  readonly relayer: EvmAddress;
  /** Of every relayer key; `relayer` is the first. */
  readonly keyAddresses: readonly EvmAddress[];
  /** The same as private keys: the public development key, and others drawn for this run. */
  readonly keys: readonly string[];
  readonly guardian: EvmAddress;
  readonly payers: readonly Payer[];
  readonly environment: (database: string) => Record<string, string>;
  collect(options: { payer: number; intentId?: string; merchant?: number; value?: bigint; validBeforeS?: bigint; validAfterS?: bigint; nonce?: Bytes32 }): SubmitRequest;
  merchantUnits(merchant: number): Promise<bigint>;
  vaultUnits(): Promise<bigint>;
  relayerNonce(): Promise<bigint>;
  stop(): Promise<void>;
}

export const randomKey32 = (): Bytes32 => `0x${randomBytes(32).toString('hex')}` as Bytes32;
export const merchantKeyOf = (merchant: number): Bytes32 => `0x${merchant.toString(16).padStart(64, '0')}` as Bytes32;
export const relayerAddress = addressOfPrivateKey(Buffer.from(DEV_RELAYER_KEY.slice(2), 'hex'));

export async function startWorld(options: { databases: readonly string[]; payers: number; blockTimeMs: number | 'instant'; finalityDepth?: number; furtherKeys?: number }): Promise<RelayerWorld> {
  const postgres = await startPostgres({ databases: options.databases });
  const anvil = await startAnvil({ blockTimeMs: options.blockTimeMs });
  const furtherKeys = Array.from({ length: options.furtherKeys ?? 0 }, () => randomKey32());
  const keyAddresses = [DEV_RELAYER_KEY, ...furtherKeys].map((key) => addressOfPrivateKey(Buffer.from(key.slice(2), 'hex')));
  const roles = { admin: DEV_OTHER, guardian: DEV_OTHER, governor: DEV_OTHER, epochKeeper: DEV_OTHER, relayers: keyAddresses };
  const chain = await deployLocal(anvil.rpcUrl, roles);
  const payers = Array.from({ length: options.payers }, (): Payer => {
    const key = new Uint8Array(randomBytes(32));
    return { key, address: addressOfPrivateKey(key) };
  });
  await chain.mintMany(payers.map(({ address }) => ({ to: address, units: 1_000_000_000n })));
  const rpc = jsonRpc(anvil.rpcUrl);
  const separator = domainSeparator(chain.usdcDomain);
  const chainId = `eip155:${chain.chainId}`;
  for (const address of keyAddresses.slice(1)) await rpc.call('anvil_setBalance', [address, `0x${(10n ** 18n).toString(16)}`]);
  let count = 0;
  return {
    postgres,
    anvil,
    chain,
    rpc,
    relayer: relayerAddress,
    keyAddresses,
    keys: [DEV_RELAYER_KEY, ...furtherKeys],
    guardian: DEV_OTHER,
    payers,
    environment: (database) => ({
      DATABASE_URL: postgres.urlFor(database),
      CHAINS: JSON.stringify([
        {
          chainId,
          mode: 'test',
          rpcUrls: [anvil.rpcUrl],
          vaultAddress: chain.vault,
          transfersAddress: chain.transfers,
          permit2ProxyAddress: chain.permit2Proxy,
          entryPoints: chain.entryPoints.map(({ address, version }) => ({ address, version })),
          sponsorPaymasters: chain.sponsorPaymasters,
          walletFactories: [chain.walletFactory],
          finalityDepth: options.finalityDepth ?? 1,
          blockTimeMs: options.blockTimeMs === 'instant' ? 500 : options.blockTimeMs,
          tokens: [{ symbol: 'USDC', address: chain.usdc, decimals: 6, eip712Name: chain.usdcDomain.name, eip712Version: chain.usdcDomain.version }],
        },
      ]),
      RELAYER_KEYS: JSON.stringify([DEV_RELAYER_KEY, ...furtherKeys]),
      INSTANCE_ID: 'relayer-test',
      LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
    }),
    collect({ payer, intentId, merchant = 1, value = 1_000_000n, validBeforeS, validAfterS = 0n, nonce = randomKey32() }) {
      const from = payers[payer % payers.length];
      if (from === undefined) throw new RangeError('no such payer');
      count += 1;
      const message = {
        from: from.address,
        to: chain.vault,
        value: value as TokenUnits,
        validAfter: validAfterS,
        validBefore: validBeforeS ?? BigInt(Math.floor(Date.now() / 1000)) + 86_400n,
        nonce,
      };
      const id = intentId ?? `int_${count}_${randomBytes(4).toString('hex')}`;
      return {
        intentId: id,
        chainId,
        subjectId: id.replace('int_', 'pay_'),
        screeningId: id.replace('int_', 'scr_'),
        sponsorId: 'spo_1',
        reservationId: id.replace('int_', 'rsv_'),
        kind: {
          $case: 'collect',
          value: {
            token: 'USDC',
            authorization: {
              from: message.from,
              to: message.to,
              valueMinor: message.value.toString(),
              validAfter: message.validAfter,
              validBefore: message.validBefore,
              nonce,
              signature: signAuthorization('ReceiveWithAuthorization', separator, message, from.key),
            },
            merchantKey: merchantKeyOf(merchant),
          },
        },
      };
    },
    merchantUnits: async (merchant) => {
      const { method, params } = merchantBalance(chain.vault, chain.usdc, merchantKeyOf(merchant), 'latest');
      return asUnits(await rpc.call(method, params));
    },
    vaultUnits: async () => {
      const { method, params } = tokenBalance(chain.usdc, chain.vault, 'latest');
      return asUnits(await rpc.call(method, params));
    },
    relayerNonce: async () => BigInt(String(await rpc.call('eth_getTransactionCount', [relayerAddress, 'latest']))),
    async stop() {
      await anvil.stop();
      await postgres.stop();
    },
  };
}

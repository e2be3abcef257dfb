import { systemClock } from '@settlement/config/system-ports';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { TokenUnits } from '@settlement/kernel/money';
import type { UnixNs, UnixSeconds } from '@settlement/kernel/time';
import { createLogger } from '@settlement/observability/logger';
import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import { describe, expect, it } from 'vitest';
import { contractCalls } from '../adapters/contract-calls';
import type { AcceptedIntent } from '../intent/intent';
import type { CallRequest, ChainReader, ReceiptLog, Simulation, SimulationOptions } from '../ports/chain-reader';
import { allowListOf } from './allow-list.policy';
import { GAS_MODEL } from './gas-model';
import { LaneBook } from './lane-book';
import { gasLimitOf, type Pack } from './pack.policy';
import { PreFlight } from './pre-flight';
import { TOPICS } from './simulation.policy';

const address = (digit: string): EvmAddress => `0x${digit.repeat(40)}` as EvmAddress;
const [VAULT, KEY, TOKEN, THIEF] = [address('1'), address('2'), address('4'), address('9')];
const CONTRACTS = { vaultAddress: VAULT, entryPoints: [] };
const word = (text: string): string => `0x${text.slice(2).padStart(64, '0')}`;
const transfer = (from: string, to: string, value: bigint): ReceiptLog => ({ address: TOKEN, topics: [TOPICS.transfer, word(from), word(to)], data: word(`0x${value.toString(16)}`) });
const payerOf = (digit: string): EvmAddress => address(digit);

const collect = (digit: string): AcceptedIntent => ({
  intent: {
    intentId: `int_${digit}`,
    chainId: 'eip155:31337' as ChainId,
    subjectId: 's',
    screeningId: 's',
    sponsorId: 's',
    reservationId: 's',
    call: {
      kind: 'collect',
      token: TOKEN,
      from: payerOf(digit),
      value: 7n as TokenUnits,
      validAfter: 0n as UnixSeconds,
      validBefore: 9_999_999_999n as UnixSeconds,
      nonce: `0x${digit.repeat(64)}` as Bytes32,
      signature: `0x${'0'.repeat(130)}` as HexBytes,
      merchantKey: `0x${'b'.repeat(64)}` as Bytes32,
    },
  },
  acceptedAtNs: systemClock.nowNs() as UnixNs,
  traceparent: '',
});
const packOf = (...intents: readonly AcceptedIntent[]): Pack => ({ kind: 'collect', intents, gasLimit: gasLimitOf(intents.map((it) => it.intent.call), GAS_MODEL) });

/** A node on which the payers in `bad` have a token that also moves the vault's money, and which says how it was asked. */
function flight(options: { bad?: readonly string[]; vault?: EvmAddress; listed?: EvmAddress; lacksSimulation?: boolean }) {
  const asked: SimulationOptions[] = [];
  const payersIn = (data: string): string[] => ['5', '6', '7'].filter((digit) => data.includes(payerOf(digit).slice(2)));
  const simulate = (requests: readonly CallRequest[], how: SimulationOptions): Promise<readonly Simulation[] | undefined> => {
    asked.push(how);
    if (options.lacksSimulation === true) return Promise.resolve(undefined);
    return Promise.resolve(
      requests.map(({ data }): Simulation => ({
        ok: true,
        gasUsed: 100_000n,
        logs: payersIn(data).flatMap((digit) => [transfer(payerOf(digit), VAULT, 7n), ...(options.bad?.includes(digit) === true ? [transfer(VAULT, THIEF, 7n)] : [])]),
      })),
    );
  };
  const calls = (requests: readonly CallRequest[]) => Promise.resolve(requests.map(() => ({ ok: true as const, data: '0x' })));
  const reader = { simulate, calls } as unknown as ChainReader;
  const preFlight = new PreFlight(
    {
      reader,
      calls: contractCalls({ vaultAddress: options.vault ?? VAULT }),
      settings: {
        eip155: 31337n,
        finalityDepth: 1n,
        epoch: 1n,
        inFlightMax: 4,
        pack: { gas: GAS_MODEL, itemsMax: 100, waitMs: 0, expiryMarginS: 6n },
        fees: { feePerGasWeiMax: 1n, priorityFeeWeiMin: 1n, priorityFeeWeiMax: 1n },
        pollMs: 100,
        rebroadcastMs: 100,
        execution: { contracts: CONTRACTS, allowList: allowListOf({ ...CONTRACTS, vaultAddress: options.listed ?? VAULT }), blockTimeMs: 12_000 },
      },
      signer: { address: KEY, sign: () => Promise.reject(new Error('nothing is to be signed')) },
      logger: createLogger({ service: 'test', region: 'local', epoch: 1n, level: 'silent' }),
      book: new LaneBook('eip155:31337', KEY),
      clock: systemClock,
    },
    { head: { number: 41n, hash: '0x', timestampS: 1_000n } },
  );
  return { preFlight, asked };
}

describe('before a transaction is signed', () => {
  it('is simulated as the next block: number and time', async () => {
    const { preFlight, asked } = flight({});
    await preFlight.check([packOf(collect('5'))]);
    expect(asked[0]?.block).toEqual({ number: 42n, timestampS: 1_012n });
  });

  it('takes the intents at fault out and lets the others go together', async () => {
    const { preFlight, asked } = flight({ bad: ['6'] });
    const checked = await preFlight.check([packOf(collect('5'), collect('6'), collect('7'))]);
    expect(checked).toMatchObject({ outcome: 'checked', faulty: [{ accepted: { intent: { intentId: 'int_6' } }, reason: IntentReason.INTENT_REASON_SIMULATION_REFUSED, detail: expect.stringContaining(THIEF) as unknown }] });
    expect(checked.outcome === 'checked' && checked.good.map(({ intents }) => intents.map(({ intent }) => intent.intentId))).toEqual([['int_5', 'int_7']]);
    // All in one round trip; what is given up is seen by a quorum, delegate calls included.
    expect(asked).toMatchObject([{ confirmed: false }, { confirmed: true, delegateCalls: true }]);
  });

  it('looks at delegate calls with the first of a kind and token, and not with each', async () => {
    const { preFlight, asked } = flight({});
    await preFlight.check([packOf(collect('5'))]);
    await preFlight.check([packOf(collect('6'))]);
    expect(asked.map(({ delegateCalls }) => delegateCalls)).toEqual([true, false]);
  });

  it('gives up what would call a contract that is on no list, and asks the node nothing about it', async () => {
    const { preFlight, asked } = flight({ listed: address('8') });
    expect(await preFlight.check([packOf(collect('5'), collect('6'))])).toMatchObject({
      outcome: 'checked',
      good: [],
      faulty: ['int_5', 'int_6'].map((intentId) => ({ accepted: { intent: { intentId } }, reason: IntentReason.INTENT_REASON_NOT_ALLOWED, detail: expect.stringContaining(VAULT) as unknown })),
    });
    expect(asked).toEqual([]);
  });

  it('executes by eth_call where the node cannot simulate', async () => {
    const { preFlight } = flight({ lacksSimulation: true, bad: ['5'] });
    expect(await preFlight.check([packOf(collect('5'))])).toMatchObject({ outcome: 'checked', good: [{}], faulty: [] });
  });
});

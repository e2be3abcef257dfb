import { createHash } from 'node:crypto';
import { systemClock } from '@settlement/config/system-ports';
import { openEventStore, singleDatabase, type PostgresEventStore } from '@settlement/event-store/postgres-event-store';
import { decodePaymasterData, sponsorshipDigest } from '@settlement/chain/sponsor-paymaster';
import { addressOfPrivateKey, recoverAddress } from '@settlement/chain/native-secp256k1';
import { fromHex } from '@settlement/chain/hex';
import type { UserOperation } from '@settlement/chain/user-operation';
import { userOperationToJson } from '@settlement/chain/user-operation-json';
import type { Bytes32, ChainId, EvmAddress, HexBytes } from '@settlement/kernel/address';
import { OperationalError } from '@settlement/kernel/errors';
import type { SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';
import type { Clock, UnixNs } from '@settlement/kernel/time';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PgSponsorBook } from '../adapters/pg-sponsor-book';
import { migratePaymaster, PgSponsorshipBook } from '../adapters/pg-sponsorship-book';
import { secp256k1PaymasterSigner } from '../adapters/secp256k1-paymaster-signer';
import { erc7677Methods, type SponsorAccess } from '../erc7677/erc7677';
import { SponsorPolicies } from '../policy/sponsor-policies';
import { SERVICE_CEILINGS } from '../policy/sponsor-policy';
import type { OperationChain } from '../ports/operation-chain';
import type { OperationScreener, ScreeningQuestion } from '../ports/operation-screener';
import type { PaymasterSigner } from '../ports/paymaster-signer';
import { SponsorDesk } from '../sponsor/sponsor-desk';
import { OperationSponsor } from './operation-sponsor';
import { SponsorshipDesk } from './sponsorship-desk';

const chainId = 'eip155:31337' as ChainId;
const entryPoint = { address: `0x${'e1'.repeat(20)}` as EvmAddress, version: '0.8' as const, paymaster: `0x${'fa'.repeat(20)}` as EvmAddress };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { refused: () => undefined, group: () => undefined, oddCost: () => undefined, operation: () => undefined, ended: () => undefined };
/** A test key, made from its name. */
const signerKey = `0x${createHash('sha256').update('operation sponsor test signer').digest('hex')}`;
const nothing = { enabled: true, senders: [], factories: [], contracts: [], allowUndecodable: true, caps: undefined, costPerOperationWeiMax: '', senderQuotas: [], sponsorQuotas: [], validitySeconds: 0n, displayName: 'Acme', displayIcon: '' };

let postgres: LocalPostgres;
let store: PostgresEventStore;
let sponsorId: SponsorId;
let sponsors = 0;
let asked: ScreeningQuestion[];
let verdict: () => Promise<'allow' | 'hold' | 'reject'>;
let signer: PaymasterSigner;
let signatures: number;
let skewSeconds: bigint;

const clock: Clock = { ...systemClock, nowNs: () => (systemClock.nowNs() + skewSeconds * 1_000_000_000n) as UnixNs };
const chain: OperationChain = {
  estimate: () => Promise.resolve({ ok: true, estimate: { callGasLimit: 50_000n, verificationGasLimit: 60_000n, preVerificationGas: 70_000n } }),
  delegateOf: () => Promise.resolve(undefined),
  finalBlock: () => Promise.resolve(undefined),
  blockAt: (_time, highest) => Promise.resolve(highest),
  block: (number) => Promise.resolve({ number, time: 0n }),
  executed: () => Promise.resolve([]),
};
const screener: OperationScreener = {
  screen: (question) => {
    asked.push(question);
    return verdict();
  },
};

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['paymaster'] });
  store = await openEventStore({ source: 'paymaster', partitionMap: singleDatabase(postgres.urlFor('paymaster')), region: 'test', epoch: 1n, clock: systemClock });
  await migratePaymaster(postgres.urlFor('paymaster'));
});
afterAll(async () => {
  await store?.close();
  await postgres?.stop();
});
beforeEach(async () => {
  sponsors += 1;
  sponsorId = `spo_${sponsors}` as SponsorId;
  asked = [];
  signatures = 0;
  skewSeconds = 0n;
  verdict = () => Promise.resolve('allow');
  const real = secp256k1PaymasterSigner(signerKey);
  signer = {
    address: real.address,
    sign: (digest) => {
      signatures += 1;
      return real.sign(digest);
    },
  };
  const { budgets, policies } = parts();
  await budgets.ask(sponsorId, { kind: 'set-budget', budget: 10n ** 18n as Wei, commandId: 'first', alreadyApplied: false }, '');
  await policies.set(sponsorId, nothing, 'first', 'test', '');
});

function parts() {
  const sponsorBook = new PgSponsorBook(store);
  const book = new PgSponsorshipBook(store);
  const budgets = new SponsorDesk({ store, book: sponsorBook, clock, log, metrics });
  const desk = new SponsorshipDesk({ store, sponsors: budgets, sponsorBook, book, clock });
  const policies = new SponsorPolicies({ store, clock, ceilings: SERVICE_CEILINGS, log });
  return { budgets, book, desk, policies };
}

/** As a process that has just started. */
function newProcess(): OperationSponsor {
  const { book, desk, policies } = parts();
  return new OperationSponsor({ desk, book, policies, screener, signer: { get address() { return signer.address; }, sign: (digest) => signer.sign(digest) }, chainOf: () => chain, clock, metrics });
}

const operation = (fields: Partial<UserOperation> = {}): UserOperation => ({
  sender: `0x${'aa'.repeat(20)}` as EvmAddress, nonce: BigInt(sponsors), factoryData: '0x' as HexBytes, callData: '0xdeadbeef' as HexBytes, callGasLimit: 50_000n, verificationGasLimit: 60_000n, preVerificationGas: 70_000n,
  feePerGasWeiMax: 10n, priorityFeePerGasWeiMax: 1n, paymasterVerificationGasLimit: 0n, paymasterPostOpGasLimit: 0n, paymasterData: '0x' as HexBytes, signature: '0x' as HexBytes, ...fields,
});
const question = (fields: Partial<UserOperation> = {}) => ({ operation: operation(fields), chainId, entryPoint, sponsorId, traceparent: '' });
const reserved = async (): Promise<bigint> => (await new PgSponsorBook(store).find(sponsorId))?.reserved ?? 0n;
async function dataOf(sponsor: OperationSponsor, fields: Partial<UserOperation> = {}): Promise<HexBytes> {
  const answer = await sponsor.sponsor(question(fields));
  if (answer.kind === 'refused') throw new Error(answer.refusal.code);
  return answer.fields.paymasterData;
}

describe('sponsoring an operation', () => {
  it('reserves the worst case before it signs, and signs exactly the terms that are recorded', async () => {
    signer = { address: signer.address, sign: async (digest) => {
      // 50,000 + 60,000 + 70,000 and the paymaster's own 60,000 + 40,000, at 10 wei.
      expect(await reserved()).toBe(2_800_000n);
      return secp256k1PaymasterSigner(signerKey).sign(digest);
    } };
    const decoded = decodePaymasterData(await dataOf(newProcess()));
    expect(decoded?.terms).toMatchObject({ costWeiMax: 2_800_000n, caps: { callGasLimit: 50_000n, verificationGasLimit: 60_000n, preVerificationGas: 70_000n, feePerGasWei: 10n, priorityFeePerGasWei: 1n } });
    if (decoded === undefined) return;
    const digest = sponsorshipDigest(operation(), decoded.terms, { chainId: 31_337n, paymaster: entryPoint.paymaster, entryPoint: entryPoint.address });
    expect(recoverAddress(digest, fromHex(decoded.signature))).toBe(addressOfPrivateKey(fromHex(signerKey)));
    expect(asked).toEqual([{ screeningId: `scr-uop-${decoded.terms.sponsorshipKey}`, sponsorshipId: decoded.terms.sponsorshipKey, chainId, sender: operation().sender, payees: [] }]);
  });

  it('custody that fails after the reservation: the next asking signs what was reserved, and nothing is reserved twice', async () => {
    const working = signer;
    signer = { address: working.address, sign: () => Promise.reject(new OperationalError('HSM_AWAY', 'no answer', 'unknown')) };
    await expect(dataOf(newProcess())).rejects.toMatchObject({ code: 'HSM_AWAY' });
    expect(await reserved()).toBe(2_800_000n);
    signer = working;
    await dataOf(newProcess());
    expect([await reserved(), signatures]).toEqual([2_800_000n, 1]);
  });

  it('is asked again by another process: the recorded signature, without custody and without screening', async () => {
    const first = await dataOf(newProcess());
    const screened = asked.length;
    expect(await dataOf(newProcess())).toBe(first);
    expect([signatures, asked.length - screened]).toEqual([1, 0]);
  });

  it('a signature about to run out is not handed out again: a new one stands beside it until the old one has expired on the chain', async () => {
    const first = await dataOf(newProcess());
    skewSeconds = SERVICE_CEILINGS.validitySeconds - 30n;
    const second = await dataOf(newProcess());
    const keys = [first, second].map((data) => decodePaymasterData(data)?.terms.sponsorshipKey);
    expect(new Set<Bytes32 | undefined>(keys).size).toBe(2);
    expect(await reserved()).toBe(5_600_000n);
  });

  it('waits when screening is away, and refuses what it holds or rejects: nothing is reserved, nothing signed (I3)', async () => {
    verdict = () => Promise.reject(new OperationalError('UNAVAILABLE', 'no list', 'not-done'));
    await expect(dataOf(newProcess())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    verdict = () => Promise.resolve('hold');
    await expect(dataOf(newProcess())).rejects.toThrow('SCREENING_HOLD');
    verdict = () => Promise.resolve('reject');
    await expect(dataOf(newProcess())).rejects.toThrow('SCREENING_REJECTED');
    expect([await reserved(), signatures]).toEqual([0n, 0]);
  });

  it('a policy that is switched off ends what is promised from now on, not what was promised', async () => {
    const first = await dataOf(newProcess());
    await parts().policies.set(sponsorId, { ...nothing, enabled: false }, 'off', 'test', '');
    await expect(dataOf(newProcess(), { callGasLimit: 49_999n })).rejects.toThrow('SPONSORING_DISABLED');
    expect(await dataOf(newProcess())).toBe(first);
  });

  it('64 wallets at once get what the budget holds and no more (I8)', async () => {
    const processes = [newProcess(), newProcess()];
    await parts().budgets.ask(sponsorId, { kind: 'set-budget', budget: (2_800_000n * 20n + 1n) as Wei, commandId: 'small', alreadyApplied: false }, '');
    const answers = await Promise.all(Array.from({ length: 64 }, (_, i) => processes[i % 2]?.sponsor(question({ sender: `0x${i.toString(16).padStart(40, 'b')}` as EvmAddress }))));
    expect(answers.filter((answer) => answer?.kind === 'sponsored')).toHaveLength(20);
    expect(answers.flatMap((answer) => (answer?.kind === 'refused' ? [answer.refusal.code] : [])).filter((code) => code === 'BUDGET_EXCEEDED')).toHaveLength(44);
    expect(await reserved()).toBe(2_800_000n * 20n);
  });
});

describe('whose budget a call draws on', () => {
  const methods = (access: Partial<SponsorAccess>) =>
    erc7677Methods({ chains: [{ chainId, entryPoints: [entryPoint] }], sponsor: newProcess(), access: { sponsorOfKey: () => undefined, keysNeeded: false, defaultSponsor: undefined, ...access } });
  const ask = async (access: Partial<SponsorAccess>, context: unknown, key?: string) => {
    const params = [userOperationToJson(operation()), entryPoint.address, '0x7a69', context];
    try {
      await methods(access)['pm_getPaymasterData']?.(params, { key, remoteAddress: '', traceparent: '' });
      return 'sponsored';
    } catch (error) {
      return [(error as { readonly code?: number }).code ?? 'INVALID_INPUT', (error as { readonly data?: { readonly reason: string } }).data?.reason];
    }
  };

  it('with API keys: the key\'s own sponsor and no other', async () => {
    const keyed: Partial<SponsorAccess> = { keysNeeded: true, sponsorOfKey: (key) => (key === 'right' ? sponsorId : undefined) };
    expect(await ask(keyed, {}, 'right')).toBe('sponsored');
    expect(await ask(keyed, { sponsorId }, 'right')).toBe('sponsored');
    expect(await ask(keyed, { sponsorId: 'spo_other' }, 'right')).toEqual([-32_001, 'SPONSOR_OF_OTHER_KEY']);
    expect(await ask(keyed, { sponsorId }, 'wrong')).toEqual([-32_001, 'API_KEY_INVALID']);
    expect(await ask(keyed, { sponsorId })).toEqual([-32_001, 'API_KEY_INVALID']);
  });

  it('without: the named one, else the default, else nobody', async () => {
    expect(await ask({}, { sponsorId })).toBe('sponsored');
    expect(await ask({ defaultSponsor: sponsorId }, undefined)).toBe('sponsored');
    expect(await ask({}, {})).toEqual(['INVALID_INPUT', undefined]);
    expect(await ask({}, { sponsorId: 'spo_nobody' })).toEqual([-32_501, 'SPONSOR_HAS_NO_POLICY']);
  });
});

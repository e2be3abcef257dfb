import { isDeepStrictEqual } from 'node:util';
import { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import { PaymasterServiceService, ReservationState, ReserveOutcome, SponsorReason } from '@settlement/proto/paymaster/v1/paymaster';
import { IntentReason, IntentState, RelayerServiceService, SubmitOutcome, type IntentStatus, type SubmitRequest } from '@settlement/proto/relayer/v1/relayer';
import { ScreeningReason, ScreeningServiceService, Subject, Verdict, type ScreenRequest, type ScreenResponse } from '@settlement/proto/screening/v1/screening';
import { OperationalError } from '@settlement/kernel/errors';
import { RpcRefused } from '@settlement/rpc/rpc-error';
import { rpcService, startGrpcServer, type BoundRpcService, type RpcImplementation, type RunningGrpcServer } from '@settlement/rpc/grpc-server';
import type { RpcService } from '@settlement/rpc/service-definition';

/** The four peers as real gRPC servers that keep the contract of proto/: idempotent by id, unavailable when told to be. */
export interface FakePeers {
  readonly addresses: { readonly screening: string; readonly paymaster: string; readonly relayer: string; readonly batch: string };
  /** Addresses (lower case) that are sanctioned, and those that need a person. */
  readonly sanctioned: Set<string>;
  readonly heldAddresses: Set<string>;
  /** Sponsors without budget. */
  readonly brokeSponsors: Set<string>;
  /** Payers whose intents the relayer refuses. */
  readonly unrelayable: Set<string>;
  /** Which peer answers UNAVAILABLE. */
  readonly down: Set<'screening' | 'paymaster' | 'relayer' | 'batch'>;
  readonly screenings: Map<string, ScreenRequest>;
  readonly reservations: Map<string, string>;
  readonly released: Set<string>;
  readonly intents: Map<string, SubmitRequest>;
  /** Where intents stand; one that is not here is accepted. */
  readonly progress: Map<string, IntentStatus>;
  /** Told of each intent when it is accepted for the first time. */
  readonly relay: { accepted: (intent: SubmitRequest) => void };
  /** Calls, repetitions included. */
  readonly calls: { screening: number; paymaster: number; relayer: number };
  stop(): Promise<void>;
}

export async function startFakePeers(): Promise<FakePeers> {
  const state: Omit<FakePeers, 'addresses' | 'stop'> = {
    sanctioned: new Set(),
    heldAddresses: new Set(),
    brokeSponsors: new Set(),
    unrelayable: new Set(),
    down: new Set(),
    screenings: new Map(),
    reservations: new Map(),
    released: new Set(),
    intents: new Map(),
    progress: new Map(),
    relay: { accepted: () => undefined },
    calls: { screening: 0, paymaster: 0, relayer: 0 },
  };
  const up = (peer: 'screening' | 'paymaster' | 'relayer' | 'batch'): void => {
    if (state.down.has(peer)) throw new OperationalError('FAKE_DOWN', `${peer} is down on purpose`, 'not-done');
  };
  const screen = (request: ScreenRequest): ScreenResponse => {
    state.screenings.set(request.screeningId, request);
    const addresses = request.parties.map((party) => party.address);
    const rejected = addresses.some((address) => state.sanctioned.has(address));
    const held = addresses.some((address) => state.heldAddresses.has(address));
    return {
      screeningId: request.screeningId,
      verdict: rejected ? Verdict.VERDICT_REJECT : held ? Verdict.VERDICT_HOLD : Verdict.VERDICT_ALLOW,
      reason: rejected ? ScreeningReason.SCREENING_REASON_SANCTIONED_ADDRESS : held ? ScreeningReason.SCREENING_REASON_NAME_MATCH : ScreeningReason.SCREENING_REASON_NO_MATCH,
      matches: [],
      listVersions: ['fake-list@1'],
      matcherVersion: 'fake',
      rulePackVersion: 'fake',
      decidedAtNs: 1n,
    };
  };

  const screening = await serve(ScreeningServiceService, {
    screen: (request) => Promise.resolve(screen(request)),
    screenMany: async ({ items }) => {
      state.calls.screening += 1;
      up('screening');
      if (items.some((item) => item.subject !== Subject.SUBJECT_PAYMENT)) throw new Error('only payments are screened by the gateway');
      return { items: items.map(screen) };
    },
    getScreening: () => Promise.resolve({ screening: undefined }),
    listVersions: async () => {
      up('screening');
      return { versions: [] };
    },
  });
  const paymaster = await serve(PaymasterServiceService, {
    ...unused(PaymasterServiceService),
    reserveMany: async ({ items }) => {
      state.calls.paymaster += 1;
      up('paymaster');
      return {
        items: items.map((item) => {
          const recorded = state.reservations.get(item.reservationId);
          if (recorded !== undefined && recorded !== item.amountWeiMax) {
            return { reservationId: item.reservationId, outcome: ReserveOutcome.RESERVE_OUTCOME_REFUSED, reason: SponsorReason.SPONSOR_REASON_RESERVATION_CHANGED, reservedWei: recorded };
          }
          const refused = state.brokeSponsors.has(item.sponsorId);
          if (!refused) state.reservations.set(item.reservationId, item.amountWeiMax);
          return {
            reservationId: item.reservationId,
            outcome: refused ? ReserveOutcome.RESERVE_OUTCOME_REFUSED : ReserveOutcome.RESERVE_OUTCOME_RESERVED,
            reason: refused ? SponsorReason.SPONSOR_REASON_BUDGET_EXCEEDED : SponsorReason.SPONSOR_REASON_UNSPECIFIED,
            reservedWei: refused ? '0' : item.amountWeiMax,
          };
        }),
      };
    },
    releaseMany: async ({ items }) => {
      up('paymaster');
      for (const item of items) state.released.add(item.reservationId);
      return { items: items.map((item) => ({ reservationId: item.reservationId, state: ReservationState.RESERVATION_STATE_RELEASED })) };
    },
  });
  const relayer = await serve(RelayerServiceService, {
    ...unused(RelayerServiceService),
    submit: () => Promise.reject(new Error('the gateway submits many at once')),
    submitMany: async ({ items }) => {
      state.calls.relayer += 1;
      up('relayer');
      return {
        items: items.map((item) => {
          const payer = payerOf(item);
          const known = state.intents.get(item.intentId);
          if (known !== undefined && !isDeepStrictEqual(known, item)) {
            return { intentId: item.intentId, outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason: IntentReason.INTENT_REASON_CONTENT_CHANGED };
          }
          if (state.unrelayable.has(payer)) return { intentId: item.intentId, outcome: SubmitOutcome.SUBMIT_OUTCOME_REFUSED, reason: IntentReason.INTENT_REASON_MALFORMED };
          state.intents.set(item.intentId, item);
          if (known === undefined) state.relay.accepted(item);
          return { intentId: item.intentId, outcome: SubmitOutcome.SUBMIT_OUTCOME_ACCEPTED, reason: IntentReason.INTENT_REASON_UNSPECIFIED };
        }),
      };
    },
    getIntents: async ({ intentIds }) => {
      up('relayer');
      return {
        items: intentIds.map((intentId) => {
          const known = state.intents.has(intentId) ? IntentState.INTENT_STATE_ACCEPTED : IntentState.INTENT_STATE_UNKNOWN;
          return state.progress.get(intentId) ?? { intentId, state: known, reason: 0, transactionHash: '', blockNumber: 0n };
        }),
      };
    },
    listLanes: async () => {
      up('relayer');
      return { lanes: [] };
    },
    describeChain: async ({ chainId }) => {
      up('relayer');
      return {
        chainId,
        vaultAddress: '0x',
        tokens: [],
        feePerGasWeiMax: '2000000000',
        collectGasMax: 120_000n,
        settleGasBaseMax: 0n,
        settleGasItemMax: 0n,
        refundGasMax: 0n,
        finalityDepth: 1,
        transfersAddress: '0x00000000000000000000000000000000000000f2',
        transferGasMax: 212_000n,
        transferDeploymentGasMax: 0n,
        permit2TransferGasMax: 273_000n,
        permit2ProxyAddress: '',
        entryPoints: [],
        blockIntervalMs: 1_000,
        walletFactories: [],
      };
    },
  });
  const batch = await serve(BatchSettlementServiceService, {
    ...unused(BatchSettlementServiceService),
    getMerchantBalance: async ({ merchantId }) => {
      up('batch');
      return { merchantId, balances: [{ chainId: 'eip155:31337', token: 'USDC', payableMinor: '5', inBatchMinor: '0', refundingMinor: '0', paidOutMinor: '7', payoutHoldCode: '', pendingMinor: '3' }] };
    },
  });

  const servers = [screening, paymaster, relayer, batch];
  return {
    ...state,
    addresses: {
      screening: `127.0.0.1:${screening.port}`,
      paymaster: `127.0.0.1:${paymaster.port}`,
      relayer: `127.0.0.1:${relayer.port}`,
      batch: `127.0.0.1:${batch.port}`,
    },
    async stop() {
      await Promise.all(servers.map((server) => server.stop(500)));
    },
  };
}

function serve<S extends RpcService>(definition: S, implementation: RpcImplementation<S>): Promise<RunningGrpcServer> {
  const service: BoundRpcService = rpcService(definition, implementation);
  return startGrpcServer({ host: '127.0.0.1', port: 0, services: [service] });
}

/** Every method of a service that a fake has no use for answers UNIMPLEMENTED. */
function unused<S extends RpcService>(definition: S): RpcImplementation<S> {
  const methods = Object.entries(definition).map(([name, method]) => {
    const refuse = (): never => {
      throw new RpcRefused('NOT_FAKED', `${name} is not part of this fake`);
    };
    return [name, method.responseStream ? refuse : async () => Promise.resolve().then(refuse)];
  });
  // Made from the definition itself, method by method.
  return Object.fromEntries(methods) as RpcImplementation<S>;
}

function payerOf({ kind }: SubmitRequest): string {
  switch (kind?.$case) {
    case 'collect':
    case 'transfer':
      return kind.value.authorization?.from ?? '';
    case 'permit2Transfer':
      return kind.value.owner;
    default:
      return '';
  }
}

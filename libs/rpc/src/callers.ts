import { BatchSettlementServiceService } from '@settlement/proto/batch/v1/batch';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { ScreeningServiceService } from '@settlement/proto/screening/v1/screening';
import { serviceNameOf, type RpcService } from './service-definition';

/** Everybody that has a certificate: the services, and the operators' commands. */
export const WORKLOADS = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening', 'operator'] as const;
export type Workload = (typeof WORKLOADS)[number];

/** Who may call each method. Total: a method without a line does not compile, and neither does a line without a method. */
type Callers<S extends RpcService> = Readonly<Record<Exclude<keyof S, number | symbol>, readonly Workload[]>>;

interface ServedContract {
  readonly owner: Workload;
  readonly service: RpcService;
  readonly callers: Readonly<Record<string, readonly Workload[]>>;
}

function contract<S extends RpcService>(owner: Workload, service: S, callers: Callers<S>): ServedContract {
  return { owner, service, callers };
}

/** For lines that no program of this repository needs. Open one when somebody does. */
const nobody: readonly Workload[] = [];

/**
 * The only table of who may call whom, over every service in proto/. A line lists those that really call the method, found in
 * apps/<caller>/src/adapters and in the commands; the services' own names stand beside `operator` where their commands run
 * inside their pods, with the pods' certificate.
 *
 * Whoever may sign an intent or reserve gas is a service; a person's certificate opens what people do and nothing else.
 */
export const contracts: readonly ServedContract[] = [
  contract('compliance-screening', ScreeningServiceService, {
    screen: ['paymaster'],
    screenMany: ['gateway', 'batch-settlement'],
    getScreening: ['operator'],
    listVersions: ['gateway', 'operator'],
  }),
  contract('paymaster', PaymasterServiceService, {
    reserve: nobody,
    reserveMany: ['gateway', 'batch-settlement'],
    release: nobody,
    releaseMany: ['gateway', 'batch-settlement'],
    commit: nobody,
    commitMany: nobody,
    setBudget: ['operator', 'paymaster'],
    getBudget: ['gateway', 'operator', 'paymaster'],
    setPolicy: ['operator', 'paymaster'],
    getPolicy: ['operator', 'paymaster'],
    getSponsorship: ['relayer', 'operator', 'paymaster'],
  }),
  contract('relayer', RelayerServiceService, {
    submit: nobody,
    submitMany: ['gateway', 'batch-settlement'],
    getIntents: ['gateway', 'operator'],
    awaitIntents: nobody,
    describeChain: ['gateway', 'batch-settlement', 'operator'],
    listLanes: ['gateway', 'operator', 'relayer'],
    cancelIntents: ['operator'],
    reinstateLane: ['operator', 'relayer'],
    quarantineLane: ['operator', 'relayer'],
  }),
  contract('batch-settlement', BatchSettlementServiceService, {
    getMerchantBalance: ['gateway'],
    getLedger: ['gateway', 'operator'],
    closeBatch: ['operator'],
    getBatch: ['operator'],
    listBatches: ['operator'],
    reconcile: ['operator'],
    listBreaks: ['operator'],
    getReport: ['operator'],
    listPayoutHolds: ['operator'],
    clearPayoutHold: ['operator'],
  }),
];

/** Beside the contracts, every server answers these; by full service name. */
const common: ReadonlyMap<string, 'anybody' | readonly Workload[]> = new Map<string, 'anybody' | readonly Workload[]>([
  // Says whether a service serves, and nothing about its work; balancers and probes ask it.
  ['grpc.health.v1.Health', 'anybody'],
  // Says what can be called: a help for people, a map for an intruder.
  ['grpc.reflection.v1.ServerReflection', ['operator']],
  ['grpc.reflection.v1alpha.ServerReflection', ['operator']],
]);

const byPath: ReadonlyMap<string, readonly Workload[]> = new Map(
  contracts.flatMap(({ service, callers }) => Object.entries(service).map(([name, { path }]): [string, readonly Workload[]] => [path, callers[name] ?? nobody])),
);

/** Who may call a method by its full name, `/package.Service/Method`; nobody may call one that no contract has. */
export function callersOf(path: string): 'anybody' | readonly Workload[] {
  return byPath.get(path) ?? common.get(path.split('/')[1] ?? '') ?? nobody;
}

/** `workload` has proved to be who it says; whether it may call is decided here. */
export function mayCall(workload: string, path: string): boolean {
  const callers = callersOf(path);
  return callers === 'anybody' || callers.some((caller) => caller === workload);
}

/** Whose certificate the server of this service must show. Undefined for a service that is not in proto/. */
export function ownerOf(service: RpcService): Workload | undefined {
  const name = serviceNameOf(service);
  return contracts.find((it) => serviceNameOf(it.service) === name)?.owner;
}

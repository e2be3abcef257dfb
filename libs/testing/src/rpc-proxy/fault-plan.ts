import {
  BadGateway,
  ConnectionReset,
  Delay,
  DropAnswerAfterBroadcast,
  DuplicateRequest,
  HalfBody,
  HalfOpenSocket,
  LyingNonce,
  LyingReceipts,
  LyingSimulations,
  MissingReceipts,
  OneItemWithoutAnswer,
  OtherBlocks,
  OtherChain,
  SilenceAfterBroadcast,
  StaleHead,
  SwallowsBroadcasts,
  TooManyRequests,
  type Fault,
} from './faults';
import { Prng } from './prng';

/** A fault for a stretch of an endpoint's requests, both ends included, counted from 0. */
export interface Episode {
  readonly from: number;
  readonly to: number;
  readonly fault: Fault;
}

export type FaultPlan = readonly Episode[];

export interface PlanOptions {
  readonly seed: number;
  readonly endpoints: number;
  /** No fault begins after so many requests of an endpoint, so that every run can end. */
  readonly requests: number;
}

const SILENT: readonly ((prng: Prng) => Fault)[] = [
  () => new DropAnswerAfterBroadcast(),
  () => new DropAnswerAfterBroadcast(),
  () => new SilenceAfterBroadcast(),
  (prng) => new Delay(prng.integer(50, 900)),
  () => new DuplicateRequest(),
  () => new DuplicateRequest(),
  (prng) => new StaleHead(BigInt(prng.integer(1, 9))),
  (prng) => new TooManyRequests(prng.pick([undefined, 1])),
  (prng) => new BadGateway(prng.next() < 0.5),
  () => new HalfOpenSocket(),
  () => new HalfBody(),
  () => new ConnectionReset(),
  (prng) => new OneItemWithoutAnswer(prng.pick(['left out', 'an internal error'])),
];

const LIES: readonly ((prng: Prng) => Fault)[] = [
  (prng) => new LyingNonce(BigInt(prng.pick([-3, -1, 1, 7]))),
  () => new MissingReceipts(),
  () => new LyingReceipts(),
  () => new LyingSimulations(),
  (prng) => new SwallowsBroadcasts(prng.pick([undefined, 'already known', 'nonce too low', 'computer says no'])),
  () => new OtherBlocks(),
  () => new OtherChain(),
];

/**
 * What each endpoint does wrong, and when. All fail in turns; one of them, the same all along, lies as well: a quorum bears
 * one liar of three and no more, so two would prove nothing. The same seed is the same plan.
 */
export function faultPlans({ seed, endpoints, requests }: PlanOptions): readonly FaultPlan[] {
  const prng = new Prng(seed);
  const liar = prng.integer(0, endpoints - 1);
  return Array.from({ length: endpoints }, (_, endpoint) => {
    const episodes: Episode[] = [];
    let at = prng.integer(0, 12);
    while (at < requests) {
      const fault = prng.pick(endpoint === liar && prng.next() < 0.6 ? LIES : SILENT)(prng);
      // What costs a whole timeout comes alone; what is answered at once comes in stretches.
      const length = fault instanceof HalfOpenSocket || fault instanceof HalfBody || fault instanceof SilenceAfterBroadcast ? prng.integer(1, 2) : prng.integer(1, fault.lies ? 15 : 6);
      episodes.push({ from: at, to: at + length - 1, fault });
      at += length + prng.integer(2, 14);
    }
    return episodes;
  });
}

export function faultAt(plan: FaultPlan, request: number): Fault | undefined {
  return plan.find(({ from, to }) => from <= request && request <= to)?.fault;
}

/** For a person who replays a seed. */
export function printPlans(seed: number, plans: readonly FaultPlan[]): string {
  return [`seed ${seed}`, ...plans.flatMap((plan, endpoint) => plan.map(({ from, to, fault }) => `  endpoint ${endpoint + 1}, requests ${from} to ${to}: ${fault.name}`))].join('\n');
}

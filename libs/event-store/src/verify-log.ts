import { chainHash, GENESIS_HASH } from './canonical';
import type { NewEvent } from './resolve-appends';

/** Where a log first is not what its hashes say. Position 0n: the partition as a whole. */
export interface BadEvent {
  readonly partition: number;
  readonly position: bigint;
  readonly reason: string;
}

/** Where a partition claims to end. */
export interface ClaimedHead {
  readonly partition: number;
  readonly head: bigint;
  readonly lastHash: Uint8Array;
}

/**
 * Checks a partition event by event: positions dense, hashes chained, versions of each stream dense, appends whole. Needs the
 * events in order and keeps one number a stream; reads no clock and no database, so that an export is verified the same way as
 * a live store.
 */
export class PartitionVerifier {
  private position = 0n;
  private hash: Uint8Array = GENESIS_HASH;
  private epoch = 0n;
  private openAppend: NewEvent | undefined;
  private readonly versions = new Map<string, bigint>();

  constructor(readonly partition: number) {}

  /** The first thing that is wrong with the event, or undefined. After an answer the verifier is not to be used further. */
  check(event: NewEvent): BadEvent | undefined {
    const bad = (reason: string): BadEvent => ({ partition: this.partition, position: event.position, reason });
    const expected = this.position + 1n;
    if (event.position > expected) return { partition: this.partition, position: expected, reason: `event ${expected} is missing; the next one is ${event.position}` };
    if (event.position < expected) return bad(`position ${event.position} comes again, after ${this.position}`);
    const hash = chainHash(this.hash, event);
    if (Buffer.compare(hash, event.hash) !== 0) return bad('the hash does not fit: this event, or its place, was changed');
    const version = (this.versions.get(event.streamId) ?? 0n) + 1n;
    if (event.streamVersion !== version) return bad(`version ${event.streamVersion} of ${event.streamId}, where ${version} follows`);
    if (event.epoch < this.epoch) return bad(`epoch ${event.epoch} after epoch ${this.epoch}: written by a region that had lost it`);
    const place = this.badPlace(event);
    if (place !== undefined) return bad(place);
    this.versions.set(event.streamId, version);
    this.position = event.position;
    this.hash = event.hash;
    this.epoch = event.epoch;
    return undefined;
  }

  /** Call after the last event, with what the partition claims. */
  checkHead({ head, lastHash }: ClaimedHead): BadEvent | undefined {
    const bad = (reason: string): BadEvent => ({ partition: this.partition, position: this.position + 1n, reason });
    if (head !== this.position) return bad(`the events end at ${this.position}, the head says ${head}`);
    if (Buffer.compare(lastHash, this.hash) !== 0) return bad('the head has another hash than the last event');
    if (this.openAppend !== undefined) return bad(`the append ${this.openAppend.commandId} is cut off`);
    return undefined;
  }

  get verified(): bigint {
    return this.position;
  }

  private badPlace(event: NewEvent): string | undefined {
    const { openAppend } = this;
    if (openAppend === undefined ? event.commandIndex !== 0 : event.commandIndex !== openAppend.commandIndex + 1 || event.commandId !== openAppend.commandId) {
      return `event ${event.commandIndex} of an append of ${event.commandSize} stands where another was due`;
    }
    this.openAppend = event.commandIndex + 1 < event.commandSize ? event : undefined;
    return undefined;
  }
}

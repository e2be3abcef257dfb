import type { RecordedEvent } from '@settlement/event-store/event';
import { FeedGap } from '@settlement/event-store/errors';
import type { Randomness } from '@settlement/kernel/ids';
import { nsToMs, type Clock, type UnixNs } from '@settlement/kernel/time';
import type { Admin, Consumer, EachBatchPayload, KafkaMessage } from 'kafkajs';
import { BackOff } from './back-off';
import { eventOf } from './event-envelope';
import type { FeedLogger } from './feed-logger';
import { attributesOf, kafkaClient, topicOf, type KafkaClient, type KafkaTls } from './kafka-client';
import type { EventFeed, FeedSubscription, RunningSubscription } from './port';

export interface KafkaFeedOptions {
  readonly brokers: readonly string[];
  /** The consuming service; group ids begin with it. */
  readonly service: string;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly logger: FeedLogger;
  readonly tls?: KafkaTls;
}

const BATCH_SIZE_MAX = 500;
/** How long a killed member's partitions stand still; the least that brokers allow by default. */
const SESSION_TIMEOUT_MS = 6_000;
/** Short, because a rebalance is only noticed with a heartbeat. */
const HEARTBEAT_MS = 1_000;
/** A record ends the wait at once; a short wait only costs idle consumers a request to every broker each time. */
const FETCH_WAIT_MS = 1_000;
const OFFSET_COMMIT_MS = 1_000;
const LAG_POLL_MS = 2_000;
const PARTITIONS_AT_ONCE = 16;
const BACK_OFF = { firstMs: 50, maxMs: 2_000 };

/**
 * Reads other services' topics as `startKafkaRelay` fills them.
 *
 * The consumer's own watermark decides where reading starts, not what Kafka has stored for the group: offsets are committed
 * for the eyes of tools and as a first guess. From a watermark to an offset leads the relay's rule that all positions before
 * n appear in front of the first n: position n never stands below offset n - 1, so reading from there misses nothing and
 * skips as many records as were published twice.
 *
 * A position that is not the next one is a gap. The partition is then read once more from where the missing event could
 * stand; when it is not there, nothing later is delivered, it is said loudly, and reading goes on only to find that event,
 * which a relay that republishes will bring.
 */
export function kafkaFeed(options: KafkaFeedOptions): EventFeed {
  return new KafkaFeed(options);
}

class KafkaFeed implements EventFeed {
  readonly #running = new Set<KafkaSubscription>();
  readonly #kafka: KafkaClient;

  constructor(private readonly options: KafkaFeedOptions) {
    this.#kafka = kafkaClient(options.service, options.brokers, options.logger, options.tls);
  }

  subscribe(subscription: FeedSubscription): Promise<RunningSubscription> {
    const running = new KafkaSubscription(this.options, this.#kafka, subscription, () => this.#running.delete(running));
    this.#running.add(running);
    running.start();
    return Promise.resolve(running);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running].map((subscription) => subscription.stop()));
  }
}

/** What is known of one partition while this member owns it. */
interface Lane {
  /** As committed by the consumer; unknown after a rebalance and after a failure. */
  watermark: bigint | undefined;
  /** The next offset that has not been dealt with. */
  nextOffset: bigint;
  /** One past the last offset of the partition, as far as known. */
  endOffset: bigint;
  oldestUnhandledNs: UnixNs | undefined;
  /** Set while the event after the watermark is searched for beyond a gap. */
  searching: boolean;
  /** Said once per search. */
  reported: boolean;
  committedAtMs: number;
  readonly backOff: BackOff;
}

class KafkaSubscription implements RunningSubscription {
  readonly #stopped = new AbortController();
  readonly #topic: string;
  readonly #groupId: string;
  readonly #lanes = new Map<number, Lane>();
  #assigned: ReadonlySet<number> = new Set();
  #consumer: Consumer | undefined;
  #admin: Promise<Admin> | undefined;
  #done: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly options: KafkaFeedOptions,
    private readonly kafka: KafkaClient,
    private readonly subscription: FeedSubscription,
    private readonly ended: () => void,
  ) {
    this.#topic = topicOf(subscription.source);
    this.#groupId = `${options.service}.${subscription.consumer}.${subscription.source}`;
  }

  get #facts(): object {
    return { source: this.subscription.source, consumer: this.subscription.consumer };
  }

  start(): void {
    this.#done = Promise.all([this.#supervise(), this.#watchEnds()]);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#done;
    const admin = await this.#admin?.catch(() => 'it never connected');
    if (typeof admin === 'object') await admin.disconnect();
    this.ended();
  }

  async caughtUp(): Promise<void> {
    const { clock } = this.options;
    const { signal } = this.#stopped;
    let targets: readonly { readonly partition: number; readonly end: bigint }[] | undefined;
    while (!signal.aborted) {
      try {
        targets ??= (await this.#fetchEnds()).map(({ partition, high }) => ({ partition, end: BigInt(high) }));
        const own = targets.filter(({ partition }) => this.#assigned.has(partition));
        const others = targets.filter(({ partition }) => !this.#assigned.has(partition));
        const ownDone = own.every(({ partition, end }) => end === 0n || (this.#lanes.get(partition)?.nextOffset ?? 0n) >= end);
        if (ownDone && (await this.#othersReached(others))) return;
      } catch (error) {
        this.options.logger.debug({ err: error, ...this.#facts }, 'progress could not be looked at');
      }
      await clock.sleep(25, signal);
    }
  }

  /** Partitions of other members of the group: what they have committed, which is up to a second old. */
  async #othersReached(targets: readonly { readonly partition: number; readonly end: bigint }[]): Promise<boolean> {
    if (targets.every(({ end }) => end === 0n)) return true;
    const admin = await this.#adminClient();
    const [topic] = await admin.fetchOffsets({ groupId: this.#groupId, topics: [this.#topic] });
    return targets.every(({ partition, end }) => BigInt(topic?.partitions.find((each) => each.partition === partition)?.offset ?? -1) >= end);
  }

  /** A new consumer whenever one has ended: with a broker that is away for a day this goes on for a day. */
  async #supervise(): Promise<void> {
    const { signal } = this.#stopped;
    const backOff = new BackOff({ ...this.options, ...BACK_OFF });
    const stopped = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => {
        resolve(undefined);
      });
    });
    while (!signal.aborted) {
      const consumer = this.kafka.consumer({
        groupId: this.#groupId,
        allowAutoTopicCreation: false,
        sessionTimeout: SESSION_TIMEOUT_MS,
        heartbeatInterval: HEARTBEAT_MS,
        rebalanceTimeout: SESSION_TIMEOUT_MS,
        maxWaitTimeInMs: FETCH_WAIT_MS,
        // Restarts are made here, for every kind of error; the library makes them for some.
        retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5, restartOnFailure: () => Promise.resolve(false) },
      });
      const crashed = Promise.withResolvers<Error>();
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        crashed.resolve(payload.error);
      });
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        this.#assigned = new Set(payload.memberAssignment[this.#topic] ?? []);
        this.#forgetLag();
        // What other members did meanwhile is not known here: every partition asks for its watermark again.
        this.#lanes.clear();
        backOff.reset();
      });
      this.#consumer = consumer;
      try {
        await consumer.connect();
        await consumer.subscribe({ topics: [this.#topic], fromBeginning: true });
        await consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
          eachBatch: (payload) => this.#batch(consumer, payload),
        });
        const error = await Promise.race([crashed.promise, stopped]);
        if (error !== undefined) throw error;
        await this.#commitAll(consumer);
      } catch (error) {
        // The first tries after a start are expected to fail until the source's relay has made its topic.
        const facts = { err: error, ...this.#facts, failures: backOff.failures };
        if (backOff.failures === 3) this.options.logger.warn(facts, 'the Kafka consumer does not run, starting it again and again');
        else this.options.logger.debug(facts, 'the Kafka consumer ended, starting it again');
      } finally {
        this.#assigned = new Set();
        this.#forgetLag();
        await consumer.disconnect().catch((error: unknown) => {
          this.options.logger.debug({ err: error, ...this.#facts }, 'a Kafka consumer could not leave');
        });
      }
      if (!signal.aborted) await backOff.pause(signal);
    }
  }

  /** The lag of a partition that went to another member is told by that one. */
  #forgetLag(): void {
    for (const partition of this.#lanes.keys()) if (!this.#assigned.has(partition)) this.subscription.onLag?.(partition, { events: 0, seconds: 0 });
  }

  #laneOf(partition: number): Lane {
    const existing = this.#lanes.get(partition);
    if (existing !== undefined) return existing;
    const lane: Lane = {
      watermark: undefined,
      nextOffset: 0n,
      endOffset: 0n,
      oldestUnhandledNs: undefined,
      searching: false,
      reported: false,
      committedAtMs: this.options.clock.monotonicMs(),
      backOff: new BackOff({ ...this.options, ...BACK_OFF }),
    };
    this.#lanes.set(partition, lane);
    return lane;
  }

  /** One fetched batch. Returns without resolving what is to be fetched again; throws only what the library must see. */
  async #batch(consumer: Consumer, payload: EachBatchPayload): Promise<void> {
    const { batch, heartbeat } = payload;
    const { partition } = batch;
    const lane = this.#laneOf(partition);
    lane.endOffset = BigInt(batch.highWatermark);
    const beats = new Heartbeats(heartbeat);
    try {
      const watermark = (lane.watermark ??= await this.subscription.watermark(partition));
      const messages = batch.messages.filter((message) => message.value !== null);
      const [first] = messages;
      const last = messages.at(-1);
      if (first === undefined || last === undefined) {
        payload.resolveOffset(batch.lastOffset());
        return;
      }
      if (!lane.searching && positionOf(first) > watermark + 1n) {
        this.#seekBack(consumer, partition, lane, watermark, positionOf(first));
        return;
      }
      // Far behind the watermark, as after a restore of the group's offsets: no need to read all of it.
      const lowest = watermark < lane.endOffset ? watermark : lane.endOffset;
      if (BigInt(last.offset) < lowest && positionOf(last) <= watermark) {
        lane.nextOffset = lowest;
        consumer.seek({ topic: this.#topic, partition, offset: lowest.toString() });
        return;
      }
      await this.#deliver(consumer, payload, lane, messages);
      lane.backOff.reset();
    } catch (error) {
      lane.watermark = undefined;
      if (this.#stopped.signal.aborted) return;
      const facts = { err: error, ...this.#facts, partition, failures: lane.backOff.failures };
      if (error instanceof FeedGap) this.subscription.onGap?.(partition, { watermark: error.watermark, lost: false });
      if (lane.backOff.failures === 0) this.options.logger.warn(facts, 'a delivery failed and is made again from the watermark');
      this.#reportLag(partition, lane);
      await lane.backOff.pause(this.#stopped.signal);
    } finally {
      beats.stop();
    }
    beats.rethrow();
  }

  async #deliver(consumer: Consumer, payload: EachBatchPayload, lane: Lane, messages: readonly KafkaMessage[]): Promise<void> {
    const { batch, resolveOffset, isRunning, isStale } = payload;
    const { partition } = batch;
    const limit = this.subscription.batchSizeMax ?? BATCH_SIZE_MAX;
    let chunk: RecordedEvent[] = [];
    let done = BigInt(batch.firstOffset() ?? 0) - 1n;
    const flush = async (): Promise<void> => {
      const last = chunk.at(-1);
      if (last === undefined) return;
      lane.oldestUnhandledNs = chunk[0]?.recordedAtNs;
      this.#reportLag(partition, lane);
      await this.subscription.handle(partition, chunk);
      lane.watermark = last.position;
      chunk = [];
    };
    const resolve = (): void => {
      lane.nextOffset = done + 1n;
      resolveOffset(done.toString());
    };

    for (const message of messages) {
      const expected = (lane.watermark ?? 0n) + BigInt(chunk.length) + 1n;
      const position = positionOf(message);
      if (position > expected && !lane.searching) {
        await flush();
        resolve();
        this.#seekBack(consumer, partition, lane, expected - 1n, position);
        return;
      }
      if (position === expected) {
        if (lane.searching) this.options.logger.info({ ...this.#facts, partition, position: position.toString() }, 'the missing event was found, the partition goes on');
        lane.searching = false;
        lane.reported = false;
        lane.nextOffset = chunk.length === 0 ? BigInt(message.offset) : lane.nextOffset;
        chunk.push(eventOf({ attributes: attributesOf(message.headers), payload: new Uint8Array(message.value ?? []) }));
      }
      done = BigInt(message.offset);
      if (chunk.length >= limit) {
        await flush();
        resolve();
        if (!isRunning() || isStale() || this.#stopped.signal.aborted) return;
      }
    }
    await flush();
    done = BigInt(batch.lastOffset());
    resolve();
    if (lane.nextOffset >= lane.endOffset) lane.oldestUnhandledNs = undefined;
    if (lane.searching && lane.nextOffset >= lane.endOffset) this.#reportLost(partition, lane);
    this.#reportLag(partition, lane);
    await this.#commit(consumer, partition, lane);
  }

  /** Reads again from the lowest offset at which the missing event can stand, and from there on looks for that event alone. */
  #seekBack(consumer: Consumer, partition: number, lane: Lane, watermark: bigint, found: bigint): void {
    this.options.logger.debug({ ...this.#facts, partition, watermark: watermark.toString(), found: found.toString() }, 'not the next event: looking for it from the watermark');
    lane.searching = true;
    lane.reported = false;
    lane.nextOffset = watermark;
    // An offset below the first that the topic still holds makes the library start at that first one.
    consumer.seek({ topic: this.#topic, partition, offset: watermark.toString() });
  }

  #reportLost(partition: number, lane: Lane): void {
    if (lane.reported) return;
    lane.reported = true;
    const watermark = lane.watermark ?? 0n;
    this.subscription.onGap?.(partition, { watermark, lost: true });
    this.options.logger.error(
      { ...this.#facts, partition, watermark: watermark.toString(), topic: this.#topic },
      'events are missing in the topic: nothing is delivered past the gap until the relay republishes them',
    );
  }

  async #commit(consumer: Consumer, partition: number, lane: Lane): Promise<void> {
    const nowMs = this.options.clock.monotonicMs();
    if (nowMs - lane.committedAtMs < OFFSET_COMMIT_MS || lane.searching) return;
    lane.committedAtMs = nowMs;
    try {
      await consumer.commitOffsets([{ topic: this.#topic, partition, offset: lane.nextOffset.toString() }]);
    } catch (error) {
      // Only tools look at it, and the next one comes in a moment.
      this.options.logger.debug({ err: error, ...this.#facts, partition }, 'an offset could not be committed');
    }
  }

  async #commitAll(consumer: Consumer): Promise<void> {
    const offsets = [...this.#lanes].filter(([, lane]) => !lane.searching && lane.nextOffset > 0n && lane.watermark !== undefined);
    if (offsets.length === 0) return;
    await consumer.commitOffsets(offsets.map(([partition, lane]) => ({ topic: this.#topic, partition, offset: lane.nextOffset.toString() })));
  }

  /** Batches tell how long a partition is only when they come; a partition that stands still is asked for. */
  async #watchEnds(): Promise<void> {
    const { clock, logger } = this.options;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await clock.sleep(LAG_POLL_MS, signal);
      if (signal.aborted) return;
      try {
        for (const { partition, high } of await this.#fetchEnds()) {
          const lane = this.#lanes.get(partition);
          if (lane === undefined) continue;
          lane.endOffset = BigInt(high);
          this.#reportLag(partition, lane);
          const consumer = this.#consumer;
          if (consumer !== undefined && lane.watermark !== undefined) await this.#commit(consumer, partition, lane);
        }
      } catch (error) {
        logger.debug({ err: error, ...this.#facts }, 'the ends of the topic could not be read');
      }
    }
  }

  async #fetchEnds(): Promise<readonly { readonly partition: number; readonly high: string }[]> {
    const admin = await this.#adminClient();
    return admin.fetchTopicOffsets(this.#topic);
  }

  #adminClient(): Promise<Admin> {
    this.#admin ??= (async () => {
      const admin = this.kafka.admin();
      try {
        await admin.connect();
      } catch (error) {
        this.#admin = undefined;
        throw error;
      }
      return admin;
    })();
    return this.#admin;
  }

  #reportLag(partition: number, lane: Lane): void {
    const behind = lane.endOffset - lane.nextOffset;
    const events = behind > 0n ? Number(behind) : 0;
    const { oldestUnhandledNs } = lane;
    const seconds = events === 0 || oldestUnhandledNs === undefined ? 0 : Math.max(0, (this.options.clock.nowMs() - nsToMs(oldestUnhandledNs)) / 1_000);
    this.subscription.onLag?.(partition, { events, seconds });
  }
}

/** Keeps the group membership while an effect takes its time. What a beat brings, such as a rebalance, is told at the end. */
class Heartbeats {
  #error: unknown;
  readonly #timer: NodeJS.Timeout;

  constructor(heartbeat: () => Promise<void>) {
    this.#timer = setInterval(() => {
      heartbeat().catch((error: unknown) => {
        this.#error ??= error;
      });
    }, HEARTBEAT_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  rethrow(): void {
    if (this.#error instanceof Error) throw this.#error;
  }
}

function positionOf(message: KafkaMessage): bigint {
  const header = message.headers?.['position'];
  const value = Array.isArray(header) ? header[0] : header;
  return BigInt(value?.toString() ?? 0);
}

import type { RecordedEvent } from '@settlement/event-store/event';
import { soleOwner, type PartitionOwners, type Tenure } from '@settlement/event-store/ownership';
import type { EventStore } from '@settlement/event-store/port';
import { InvariantViolated, OperationalError } from '@settlement/kernel/errors';
import type { Randomness } from '@settlement/kernel/ids';
import type { Clock } from '@settlement/kernel/time';
import type { Admin, Producer } from 'kafkajs';
import { Counter, Gauge, type Registry } from 'prom-client';
import { BackOff } from './back-off';
import { envelopeOf } from './event-envelope';
import type { FeedLogger } from './feed-logger';
import { attributesOf, kafkaClient, topicOf, type KafkaClient, type KafkaTls } from './kafka-client';
import { unrecordedProgress, type RelayProgress } from './relay-progress';

export interface KafkaRelayOptions {
  /** The service's own log. */
  readonly store: Pick<EventStore, 'source' | 'partitions' | 'readPartition' | 'head' | 'onAdvance'>;
  readonly brokers: readonly string[];
  /** Of a topic that is not there yet. 1 on a single broker; 3, with 2 in sync, in a cluster. */
  readonly replicationFactor?: number;
  /** Of a topic that is not there yet: how many replicas must have a record. One less than there are by default. */
  readonly minInsyncReplicas?: number;
  readonly tls?: KafkaTls;
  /** With several processes of the service: who publishes which partition. Absent, this one all of them. */
  readonly owners?: PartitionOwners;
  /** Where whoever takes a partition over goes on. Needed with `owners`. */
  readonly progress?: RelayProgress;
  /** Publish these partitions from this position on, whatever the topic holds: mends a topic that has lost records. */
  readonly republishFrom?: ReadonlyMap<number, bigint>;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly logger: FeedLogger;
  readonly metrics: Registry;
}

export interface RunningRelay {
  /** Ends after the request in hand is answered. */
  stop(): Promise<void>;
  /** Resolves once everything that the log held at the time of the call is acknowledged by the brokers. */
  caughtUp(): Promise<void>;
}

const BATCH_EVENTS_MAX = 500;
/** Below the brokers' usual limit for one request's record batch (1 MiB), with room for the records' own overhead. */
const BATCH_BYTES_MAX = 700_000;
/** Appends wake the relay, those of other replicas as soon as the store sees their heads. This is for a signal that was lost. */
const POLL_MS = 2_000;
const BACK_OFF = { firstMs: 100, maxMs: 3_000 };
const PROBE_TIMEOUT_MS = 30_000;
/** How often the owner of a partition notes how far it has come. */
const NOTE_MS = 1_000;

/**
 * Publishes the service's own log: per partition in order, one request in flight, acknowledged by all in-sync replicas.
 *
 * **Where it goes on.** Nothing is stored: the last record of each topic partition says which position it carries. A new or
 * emptied topic is filled from position 1. So a crash at any point costs at most the records of one request, published twice,
 * and two relays at once only double records: a waste, so of several processes one at a time publishes a partition, and whoever
 * takes one over goes on after the position that the former owner noted, a second ago at most. Repeated records are dropped by
 * the consumers' watermarks, because in every case the topic keeps this rule: **all positions before n appear in front of the
 * first n**. Consumers build on it: the record of position n never stands at an offset below n - 1.
 *
 * **When it refuses.** If the topic's last record is not in the log, or has another hash there, the log has lost events that
 * others may have acted on. Publishing other events under the same positions would hide that; the partition stands still
 * with an error until a person has decided.
 */
export function startKafkaRelay(options: KafkaRelayOptions): RunningRelay {
  const relay = new KafkaRelay(options);
  relay.start();
  return relay;
}

interface RelayMetrics {
  readonly lagEvents: Gauge<'source' | 'partition'>;
  readonly published: Counter<'source'>;
  readonly failures: Counter<'source'>;
}

const known = new WeakMap<Registry, RelayMetrics>();
function relayMetrics(registry: Registry): RelayMetrics {
  const existing = known.get(registry);
  if (existing !== undefined) return existing;
  const registers = [registry];
  const metrics: RelayMetrics = {
    lagEvents: new Gauge({ name: 'settlement_relay_lag_events', help: 'Events of the log that Kafka has not acknowledged yet.', labelNames: ['source', 'partition'], registers }),
    published: new Counter({ name: 'settlement_relay_published_events_total', help: 'Events acknowledged by Kafka.', labelNames: ['source'], registers }),
    failures: new Counter({ name: 'settlement_relay_failures_total', help: 'Requests to Kafka that failed and are made again.', labelNames: ['source'], registers }),
  };
  known.set(registry, metrics);
  return metrics;
}

class KafkaRelay implements RunningRelay {
  readonly #stopped = new AbortController();
  readonly #metrics: RelayMetrics;
  readonly #topic: string;
  readonly #kafka: KafkaClient;
  /** Acknowledged up to here, per partition. */
  readonly #acknowledged = new Map<number, bigint>();
  readonly #wakes = new Set<() => void>();
  /** Signals so far: one that comes between a look at the log and the wait for news must not be missed. */
  #advances = 0;
  #done: Promise<void> = Promise.resolve();

  constructor(private readonly options: KafkaRelayOptions) {
    this.#metrics = relayMetrics(options.metrics);
    this.#topic = topicOf(options.store.source);
    this.#kafka = kafkaClient(`${options.store.source}-relay`, options.brokers, options.logger, options.tls);
  }

  start(): void {
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeAll();
    await this.#done;
  }

  async caughtUp(): Promise<void> {
    const { store } = this.options;
    const heads = await Promise.all(partitionsOf(store).map(async (partition) => ({ partition, head: await store.head(partition) })));
    this.#wakeAll();
    const { progress = unrecordedProgress } = this.options;
    for (const { partition, head } of heads) {
      // What another process publishes is known from its notes alone.
      while (!this.#stopped.signal.aborted && (this.#acknowledged.get(partition) ?? 0n) < head && (await progress.load(partition)) < head) {
        await this.options.clock.sleep(10, this.#stopped.signal);
      }
    }
  }

  #wakeAll(): void {
    this.#advances += 1;
    for (const wake of [...this.#wakes]) wake();
  }

  async #run(): Promise<void> {
    const unsubscribe = this.options.store.onAdvance(() => {
      this.#wakeAll();
    });
    const producer = this.#kafka.producer({
      allowAutoTopicCreation: false,
      // One batch a partition is in flight anyway. The library's idempotent mode mixes up sequences when partitions are
      // published side by side, and what it would prevent, a doubled batch, does no harm here.
      idempotent: false,
    });
    const acknowledged = await this.#untilDone('to find out what the topic holds', async () => {
      await producer.connect();
      return this.#prepareTopic();
    });
    if (acknowledged !== undefined) {
      await Promise.all(partitionsOf(this.options.store).map((partition) => this.#lane(producer, partition, acknowledged.get(partition))));
    }
    unsubscribe();
    await producer.disconnect();
  }

  /** Again and again until it succeeds; undefined when the relay was stopped instead. */
  async #untilDone<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#stopped;
    const backOff = new BackOff({ ...this.options, ...BACK_OFF });
    while (!signal.aborted) {
      try {
        return await work();
      } catch (error) {
        this.#failed(error, `Kafka could not be reached ${what}`, backOff.failures);
        await backOff.pause(signal);
      }
    }
    return undefined;
  }

  #failed(error: unknown, message: string, failuresBefore: number, facts: object = {}): void {
    const { store, logger } = this.options;
    this.#metrics.failures.inc({ source: store.source });
    const all = { err: error, source: store.source, ...facts };
    // The first, and then one a minute or so: what goes on for long must be seen again by whoever looks at the log later.
    if (failuresBefore % 10 === 0) logger.warn(all, message);
    else logger.debug(all, message);
  }

  async #prepareTopic(): Promise<ReadonlyMap<number, TopicEnd>> {
    const admin = this.#kafka.admin();
    await admin.connect();
    try {
      await this.#ensureTopic(admin);
      return await this.#lastRecords(admin);
    } finally {
      await admin.disconnect();
    }
  }

  async #ensureTopic(admin: Admin): Promise<void> {
    const { store, replicationFactor = 1, minInsyncReplicas = Math.max(1, replicationFactor - 1) } = this.options;
    if (!(await admin.listTopics()).includes(this.#topic)) {
      await admin.createTopics({
        waitForLeaders: true,
        topics: [
          {
            topic: this.#topic,
            numPartitions: store.partitions,
            replicationFactor,
            configEntries: [
              // The topic is a copy of the log and is kept like it; whoever shortens it makes new consumers refuse a gap.
              { name: 'retention.ms', value: '-1' },
              { name: 'retention.bytes', value: '-1' },
              { name: 'cleanup.policy', value: 'delete' },
              { name: 'min.insync.replicas', value: String(minInsyncReplicas) },
              { name: 'unclean.leader.election.enable', value: 'false' },
              { name: 'max.message.bytes', value: String(8 * 1024 * 1024) },
            ],
          },
        ],
      });
    }
    const { topics } = await admin.fetchTopicMetadata({ topics: [this.#topic] });
    const found = topics[0]?.partitions.length ?? 0;
    if (found !== store.partitions) {
      throw new InvariantViolated('TOPIC_PARTITIONS', `${this.#topic} has ${found} partitions, the log has ${store.partitions}; delete the topic and it is filled anew`);
    }
  }

  /** What the last record of each partition carries. The library cannot read a partition outside a group, so one is made and removed. */
  async #lastRecords(admin: Admin): Promise<ReadonlyMap<number, TopicEnd>> {
    const ends = new Map<number, TopicEnd>();
    const offsets = await admin.fetchTopicOffsets(this.#topic);
    const wanted = new Map(offsets.filter(({ low, high }) => BigInt(high) > BigInt(low)).map(({ partition, high }) => [partition, BigInt(high) - 1n]));
    if (wanted.size === 0) return ends;
    const groupId = `${this.#topic}.relay-probe.${Buffer.from(this.options.randomness.bytes(8)).toString('hex')}`;
    const consumer = this.#kafka.consumer({ groupId, allowAutoTopicCreation: false, maxWaitTimeInMs: 100 });
    const complete = Promise.withResolvers<void>();
    const timeout = setTimeout(() => {
      complete.reject(new OperationalError('RELAY_PROBE_TIMEOUT', `the last records of ${this.#topic} could not be read in time`, 'not-done'));
    }, PROBE_TIMEOUT_MS);
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      complete.reject(payload.error);
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [this.#topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachMessage: ({ partition, message }) => {
          if (BigInt(message.offset) >= (wanted.get(partition) ?? 0n)) {
            const attributes = attributesOf(message.headers);
            ends.set(partition, { position: BigInt(attributes['position'] ?? 0), hash: attributes['hash'] ?? '' });
          }
          if (ends.size === wanted.size) complete.resolve();
          return Promise.resolve();
        },
      });
      for (const [partition, offset] of wanted) consumer.seek({ topic: this.#topic, partition, offset: offset.toString() });
      await complete.promise;
      return ends;
    } finally {
      clearTimeout(timeout);
      await consumer.disconnect();
      await admin.deleteGroups([groupId]).catch((error: unknown) => {
        this.options.logger.debug({ err: error, groupId }, 'a probe group is left to expire');
      });
    }
  }

  async #lane(producer: Producer, partition: number, end: TopicEnd | undefined): Promise<void> {
    const { store, clock, owners = soleOwner, republishFrom } = this.options;
    const { signal } = this.#stopped;
    const forced = republishFrom?.get(partition);
    const lane: RelayLane = { partition, end, proved: end === undefined, position: forced === undefined ? (end?.position ?? 0n) : forced - 1n, noted: 0n, notedAtMs: clock.monotonicMs() };
    for (let first = true; !signal.aborted; first = false) {
      const tenure = await owners.own('kafka-relay', partition, store.partitions, signal);
      if (tenure === undefined) return;
      if (!first || forced === undefined) await this.#goOnAfterFormerOwner(lane, tenure, first);
      await this.#publish(producer, lane, tenure);
      await this.#note(lane, true);
      await tenure.release();
      // Its lag is told by whoever owns it next.
      this.#metrics.lagEvents.set({ source: store.source, partition }, 0);
    }
  }

  /**
   * Since this process looked at the topic, others may have published for days. Their note is believed where the topic is long
   * enough to hold it: position n never stands below offset n - 1, so a shorter topic was emptied since, and is filled anew.
   */
  async #goOnAfterFormerOwner(lane: RelayLane, tenure: Tenure, justLooked: boolean): Promise<void> {
    const { progress = unrecordedProgress } = this.options;
    const { signal } = this.#stopped;
    const backOff = new BackOff({ ...this.options, ...BACK_OFF });
    while (!signal.aborted && !tenure.ended.aborted) {
      try {
        const noted = await progress.load(lane.partition);
        if (justLooked && noted <= lane.position) return;
        const from = noted > lane.position ? noted : lane.position;
        lane.position = (await this.#topicLength(lane.partition)) >= from ? from : 0n;
        lane.noted = noted;
        return;
      } catch (error) {
        this.#failed(error, 'it could not be found out where to go on', backOff.failures, { partition: lane.partition });
        await backOff.pause(signal);
      }
    }
  }

  async #topicLength(partition: number): Promise<bigint> {
    const admin = this.#kafka.admin();
    await admin.connect();
    try {
      const offsets = await admin.fetchTopicOffsets(this.#topic);
      return BigInt(offsets.find((it) => it.partition === partition)?.high ?? 0);
    } finally {
      await admin.disconnect();
    }
  }

  async #publish(producer: Producer, lane: RelayLane, tenure: Tenure): Promise<void> {
    const { store, clock, logger } = this.options;
    const { partition } = lane;
    const ended = AbortSignal.any([this.#stopped.signal, tenure.ended]);
    const backOff = new BackOff({ ...this.options, ...BACK_OFF });
    while (!ended.aborted) {
      try {
        lane.proved ||= await this.#proveSameLog(partition, lane.end);
        this.#acknowledged.set(partition, lane.position);
        const advances = this.#advances;
        const events = await store.readPartition(partition, lane.position, BATCH_EVENTS_MAX);
        if (events.length === 0) {
          this.#metrics.lagEvents.set({ source: store.source, partition }, 0);
          await this.#note(lane, false);
          await this.#news(ended, advances);
          continue;
        }
        this.#metrics.lagEvents.set({ source: store.source, partition }, Number((await store.head(partition)) - lane.position));
        for (const batch of batchesBySize(events)) {
          if (ended.aborted) break;
          await producer.send({ topic: this.#topic, acks: -1, timeout: 5_000, messages: batch.map(messageOf) });
          // Crash here: published, and nobody has noted it. The topic's last record says so at the next start.
          lane.position = batch.at(-1)?.position ?? lane.position;
          this.#acknowledged.set(partition, lane.position);
          this.#metrics.published.inc({ source: store.source }, batch.length);
        }
        backOff.reset();
        await this.#note(lane, false);
      } catch (error) {
        if (error instanceof InvariantViolated) {
          logger.error({ err: error, source: store.source, partition }, 'the relay refuses to publish this partition');
          this.#metrics.failures.inc({ source: store.source });
          await clock.sleep(10_000, ended);
          continue;
        }
        // Whether the batch arrived is not known; it is sent again, and consumers drop what they have.
        this.#failed(error, 'events could not be published, trying again', backOff.failures, { partition, position: lane.position.toString() });
        await backOff.pause(ended);
      }
    }
  }

  /** A note that fails is made with the next one: it only spares the next owner some repeated records. */
  async #note(lane: RelayLane, now: boolean): Promise<void> {
    const { clock, progress = unrecordedProgress } = this.options;
    if (lane.noted >= lane.position || (!now && clock.monotonicMs() - lane.notedAtMs < NOTE_MS)) return;
    lane.notedAtMs = clock.monotonicMs();
    try {
      await progress.save(lane.partition, lane.position);
      lane.noted = lane.position;
    } catch (error) {
      this.options.logger.debug({ err: error, partition: lane.partition }, 'how far the relay has come could not be noted');
    }
  }

  async #proveSameLog(partition: number, end: TopicEnd | undefined): Promise<boolean> {
    if (end === undefined || end.position === 0n) return true;
    const [event] = await this.options.store.readPartition(partition, end.position - 1n, 1);
    const own = event === undefined ? 'nothing' : Buffer.from(event.hash).toString('hex');
    if (own === end.hash) return true;
    throw new InvariantViolated('TOPIC_NOT_OF_THIS_LOG', `partition ${partition} of ${this.#topic} ends with an event that the log does not hold`, {
      position: end.position.toString(),
      inTopic: end.hash,
      inLog: own,
    });
  }

  /** Waits for an append, or a while for one whose signal was lost. Ends at once when one came since `advances` was read. */
  async #news(ended: AbortSignal, advances: number): Promise<void> {
    if (this.#advances !== advances) return;
    const woken = new AbortController();
    const wake = (): void => {
      woken.abort();
    };
    this.#wakes.add(wake);
    await this.options.clock.sleep(POLL_MS, AbortSignal.any([woken.signal, ended]));
    this.#wakes.delete(wake);
  }
}

/** One partition, over all times that this process owns it. */
interface RelayLane {
  readonly partition: number;
  /** What the topic ended with when this process looked, at its start. */
  readonly end: TopicEnd | undefined;
  /** `end` is an event of this log. */
  proved: boolean;
  /** Acknowledged up to here, as far as this process knows. */
  position: bigint;
  noted: bigint;
  notedAtMs: number;
}

interface TopicEnd {
  readonly position: bigint;
  /** Of the event, hex. */
  readonly hash: string;
}

function partitionsOf(store: { readonly partitions: number }): readonly number[] {
  return Array.from({ length: store.partitions }, (_, partition) => partition);
}

/** One Kafka message for one event. The stream is the key: tools that follow one payment filter by it. */
export function messageOf(event: RecordedEvent): { partition: number; key: string; value: Buffer; headers: Record<string, string>; timestamp: string } {
  const { attributes, payload } = envelopeOf(event);
  return {
    partition: event.partition,
    key: event.streamId,
    value: Buffer.from(payload),
    headers: { ...attributes },
    timestamp: (event.recordedAtNs / 1_000_000n).toString(),
  };
}

function* batchesBySize(events: readonly RecordedEvent[]): Generator<readonly RecordedEvent[]> {
  let batch: RecordedEvent[] = [];
  let bytes = 0;
  for (const event of events) {
    // Headers are some 700 bytes; ids and region are short.
    const size = event.payload.length + 1_024;
    if (batch.length > 0 && bytes + size > BATCH_BYTES_MAX) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(event);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

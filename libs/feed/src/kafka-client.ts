import { Kafka, logLevel, type IHeaders, type RequestTimeoutEvent } from 'kafkajs';
import { BrokerSockets } from './broker-sockets';
import type { EventAttributes } from './event-envelope';
import type { FeedLogger } from './feed-logger';

/** `settlement.<service>.v1`: one topic a service, its partitions those of the event store. */
export function topicOf(source: string): string {
  return `settlement.${source}.v1`;
}

/** PEM texts. The brokers' names are checked against their certificates. */
export interface KafkaTls {
  /** The brokers' authority; the system's when absent. */
  readonly ca?: string;
  /** This client's own, where brokers ask for one. */
  readonly cert?: string;
  readonly key?: string;
}

/** What of the library's client is used here. */
export type KafkaClient = Pick<Kafka, 'producer' | 'consumer' | 'admin'>;

export function kafkaClient(clientId: string, brokers: readonly string[], logger: FeedLogger, tls?: KafkaTls): KafkaClient {
  // The library dates its requests by the system's clock, which no option replaces.
  const sockets = new BrokerSockets(Date.now);
  const kafka = new Kafka({
    ...(tls !== undefined && { ssl: { ...(tls.ca !== undefined && { ca: [tls.ca] }), ...(tls.cert !== undefined && { cert: tls.cert }), ...(tls.key !== undefined && { key: tls.key }) } }),
    clientId,
    brokers: [...brokers],
    socketFactory: sockets.factory,
    connectionTimeout: 3_000,
    // More than a producer's wait for replicas, which is the longest answer of a broker that lives; joining a group and
    // fetching have time-outs of their own.
    requestTimeout: 7_000,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 8 },
    logLevel: logLevel.WARN,
    // The library calls each retry an error; what matters is said by the callers, so its own words are details.
    logCreator: () => ({ namespace, log }) => {
      logger.debug({ kafkajs: namespace, detail: log['error'] ?? log['stack'] }, log.message);
    },
  });
  const unanswered = ({ payload }: RequestTimeoutEvent): void => {
    logger.debug({ broker: payload.broker, request: payload.apiName }, 'a broker did not answer');
    sockets.unanswered(payload);
  };
  return {
    producer: (config) => {
      const producer = kafka.producer(config);
      producer.on(producer.events.REQUEST_TIMEOUT, unanswered);
      return producer;
    },
    consumer: (config) => {
      const consumer = kafka.consumer(config);
      consumer.on(consumer.events.REQUEST_TIMEOUT, unanswered);
      return consumer;
    },
    admin: (config) => {
      const admin = kafka.admin(config);
      admin.on(admin.events.REQUEST_TIMEOUT, unanswered);
      return admin;
    },
  };
}

/** Header values arrive as buffers; a repeated header, which we never write, keeps its first value. */
export function attributesOf(headers: IHeaders | undefined): EventAttributes {
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers ?? {})) {
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) attributes[name] = first.toString();
  }
  return attributes;
}

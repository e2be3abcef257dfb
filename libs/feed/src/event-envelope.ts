import type { RecordedEvent } from '@settlement/event-store/event';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { UnixNs } from '@settlement/kernel/time';
import { toRfc3339 } from '@settlement/kernel/time';

/** Text attributes of an event by header name; the payload travels beside them as bytes. */
export type EventAttributes = Readonly<Record<string, string>>;

export interface EventEnvelope {
  readonly attributes: EventAttributes;
  readonly payload: Uint8Array;
}

/**
 * An event as a CloudEvents 1.0 message in Kafka's binary mode (headers `ce_*`, protobuf body), with what CloudEvents has no
 * attribute for under names of our own. `eventOf` rebuilds exactly the same event.
 */
export function envelopeOf(event: RecordedEvent): EventEnvelope {
  const attributes: Record<string, string> = {
    ce_specversion: '1.0',
    ce_id: event.eventId,
    ce_source: `/settlement/${event.source}`,
    ce_type: event.type,
    ce_subject: event.streamId,
    // For people and tools; the exact nanoseconds are below.
    ce_time: toRfc3339(event.recordedAtNs),
    'content-type': 'application/protobuf',
    partition: String(event.partition),
    position: event.position.toString(),
    streamversion: event.streamVersion.toString(),
    schemaversion: String(event.schemaVersion),
    commandid: event.commandId,
    recordedatns: event.recordedAtNs.toString(),
    region: event.region,
    epoch: event.epoch.toString(),
    hash: Buffer.from(event.hash).toString('hex'),
  };
  if (event.traceparent !== '') attributes['traceparent'] = event.traceparent;
  if (event.amountMinor !== undefined) attributes['amountminor'] = event.amountMinor.toString();
  if (event.token !== undefined) attributes['token'] = event.token;
  if (event.subjectId !== undefined) attributes['subjectid'] = event.subjectId;
  return { attributes, payload: event.payload };
}

/** Throws `InvariantViolated('BAD_ENVELOPE')` for what `envelopeOf` cannot have made. */
export function eventOf({ attributes, payload }: EventEnvelope): RecordedEvent {
  const text = (name: string): string => {
    const value = attributes[name];
    if (value === undefined) throw new InvariantViolated('BAD_ENVELOPE', `an event without ${name}`, { id: attributes['ce_id'] });
    return value;
  };
  const integer = (name: string): bigint => {
    const value = text(name);
    if (!/^-?[0-9]+$/.test(value)) throw new InvariantViolated('BAD_ENVELOPE', `${name} is no whole number`, { id: attributes['ce_id'] });
    return BigInt(value);
  };
  const source = text('ce_source');
  if (!source.startsWith('/settlement/')) throw new InvariantViolated('BAD_ENVELOPE', 'an event of another system', { source });
  return {
    source: source.slice('/settlement/'.length),
    eventId: text('ce_id'),
    type: text('ce_type'),
    streamId: text('ce_subject'),
    partition: Number(integer('partition')),
    position: integer('position'),
    streamVersion: integer('streamversion'),
    schemaVersion: Number(integer('schemaversion')),
    commandId: text('commandid'),
    recordedAtNs: integer('recordedatns') as UnixNs,
    traceparent: attributes['traceparent'] ?? '',
    region: text('region'),
    epoch: integer('epoch'),
    hash: new Uint8Array(Buffer.from(text('hash'), 'hex')),
    payload,
    ...(attributes['amountminor'] !== undefined && { amountMinor: integer('amountminor') }),
    ...(attributes['token'] !== undefined && { token: text('token') }),
    ...(attributes['subjectid'] !== undefined && { subjectId: text('subjectid') }),
  };
}

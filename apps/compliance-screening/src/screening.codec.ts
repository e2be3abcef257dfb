import { eventCodec, eventEntry } from '@settlement/event-store/event-codec';
import { InvariantViolated } from '@settlement/kernel/errors';
import type { ScreeningId } from '@settlement/kernel/ids';
import type { UnixNs } from '@settlement/kernel/time';
import { ListRefusalReason, ListVersionLoaded, ListVersionRefused, ScreeningDecided } from '@settlement/proto/screening/v1/events';
import type { ListEvent, ListRefusal } from './list/list.events';
import type { ScreeningDecided as DecidedEvent } from './screening/screening.events';

const REASONS: Readonly<Record<ListRefusal, ListRefusalReason>> = {
  EMPTY: ListRefusalReason.LIST_REFUSAL_REASON_EMPTY,
  TRUNCATED: ListRefusalReason.LIST_REFUSAL_REASON_TRUNCATED,
  SHRUNK: ListRefusalReason.LIST_REFUSAL_REASON_SHRUNK,
  MALFORMED: ListRefusalReason.LIST_REFUSAL_REASON_MALFORMED,
};

function reasonOf(reason: ListRefusalReason): ListRefusal {
  for (const [name, value] of Object.entries(REASONS)) if (value === reason) return name as ListRefusal;
  throw new InvariantViolated('UNKNOWN_EVENT', 'an event names a refusal reason that this version does not know', { reason });
}

type LoadedEvent = Extract<ListEvent, { type: 'ListVersionLoaded' }>;
type RefusedEvent = Extract<ListEvent, { type: 'ListVersionRefused' }>;

/** Every event of this service is at its first schema version. The subject column finds a list's or a payment's events. */
export const screeningCodec = eventCodec<ListEvent | DecidedEvent>({
  ListVersionLoaded: eventEntry<LoadedEvent, ListVersionLoaded>({
    message: ListVersionLoaded,
    toMessage: ({ type: _type, ...fields }) => fields,
    fromMessage: (fields) => ({ type: 'ListVersionLoaded', ...fields, loadedAtNs: fields.loadedAtNs as UnixNs }),
    columns: ({ listId }) => ({ subjectId: listId }),
  }),
  ListVersionRefused: eventEntry<RefusedEvent, ListVersionRefused>({
    message: ListVersionRefused,
    toMessage: ({ type: _type, ...fields }) => ({ ...fields, reason: REASONS[fields.reason] }),
    fromMessage: (fields) => ({
      type: 'ListVersionRefused',
      ...fields,
      reason: reasonOf(fields.reason),
      refusedAtNs: fields.refusedAtNs as UnixNs,
    }),
    columns: ({ listId }) => ({ subjectId: listId }),
  }),
  ScreeningDecided: eventEntry<DecidedEvent, ScreeningDecided>({
    message: ScreeningDecided,
    toMessage: ({ type: _type, matches, listVersions, ...fields }) => ({ ...fields, matches: [...matches], listVersions: [...listVersions] }),
    fromMessage: (fields) => ({
      type: 'ScreeningDecided',
      ...fields,
      screeningId: fields.screeningId as ScreeningId,
      decidedAtNs: fields.decidedAtNs as UnixNs,
    }),
    columns: ({ subjectId }) => (subjectId === '' ? {} : { subjectId }),
  }),
});

import { messageEventCodec } from '@settlement/event-store/event-codec';
import {
  IntentAccepted,
  IntentExpired,
  LaneAcquired,
  LaneQuarantined,
  LaneReinstated,
  LaneReleased,
  ReplacementPlanned,
  TransactionDisplaced,
  TransactionFinalized,
  TransactionIncluded,
  TransactionPlanned,
  TransactionReorged,
  TransactionSigned,
} from '@settlement/proto/relayer/v1/events';
import type { RelayerEvent } from './relayer.events';

/** Every event of the relayer is at its first schema version. The subject column finds a payment, a nonce or a hash. */
export const relayerCodec = messageEventCodec<RelayerEvent>(
  {
    IntentAccepted,
    IntentExpired,
    TransactionPlanned,
    ReplacementPlanned,
    TransactionSigned,
    TransactionIncluded,
    TransactionReorged,
    TransactionFinalized,
    TransactionDisplaced,
    LaneAcquired,
    LaneReleased,
    LaneQuarantined,
    LaneReinstated,
  },
  (event) => {
    switch (event.type) {
      case 'IntentAccepted':
        return event.intent === undefined ? {} : { subjectId: event.intent.subjectId };
      case 'IntentExpired':
        return { subjectId: event.subjectId };
      case 'TransactionPlanned':
      case 'ReplacementPlanned':
      case 'TransactionDisplaced':
        return { subjectId: event.transactionId };
      case 'TransactionSigned':
      case 'TransactionIncluded':
      case 'TransactionReorged':
      case 'TransactionFinalized':
        return { subjectId: event.transactionHash };
      case 'LaneAcquired':
      case 'LaneReleased':
      case 'LaneQuarantined':
      case 'LaneReinstated':
        return { subjectId: event.keyAddress };
    }
  },
);

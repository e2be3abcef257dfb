import type {
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

/** Stream `intent-<intent id>`. */
export type IntentEvent =
  | ({ readonly type: 'IntentAccepted' } & IntentAccepted)
  | ({ readonly type: 'IntentExpired' } & IntentExpired);

/** Stream `transaction-<chain id>-<key address>-<nonce>`. */
export type TransactionEvent =
  | ({ readonly type: 'TransactionPlanned' } & TransactionPlanned)
  | ({ readonly type: 'ReplacementPlanned' } & ReplacementPlanned)
  | ({ readonly type: 'TransactionSigned' } & TransactionSigned)
  | ({ readonly type: 'TransactionIncluded' } & TransactionIncluded)
  | ({ readonly type: 'TransactionReorged' } & TransactionReorged)
  | ({ readonly type: 'TransactionFinalized' } & TransactionFinalized)
  | ({ readonly type: 'TransactionDisplaced' } & TransactionDisplaced);

/** Stream `lane-<chain id>-<key address>`. */
export type LaneEvent =
  | ({ readonly type: 'LaneAcquired' } & LaneAcquired)
  | ({ readonly type: 'LaneReleased' } & LaneReleased)
  | ({ readonly type: 'LaneQuarantined' } & LaneQuarantined)
  | ({ readonly type: 'LaneReinstated' } & LaneReinstated);

export type RelayerEvent = IntentEvent | TransactionEvent | LaneEvent;

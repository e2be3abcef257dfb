import type {
  IntentAccepted,
  IntentExpired,
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
  | ({ readonly type: 'TransactionSigned' } & TransactionSigned)
  | ({ readonly type: 'TransactionIncluded' } & TransactionIncluded)
  | ({ readonly type: 'TransactionReorged' } & TransactionReorged)
  | ({ readonly type: 'TransactionFinalized' } & TransactionFinalized);

export type RelayerEvent = IntentEvent | TransactionEvent;

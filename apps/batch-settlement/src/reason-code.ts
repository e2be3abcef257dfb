import { IntentReason } from '@settlement/proto/relayer/v1/relayer';

/** The relayer's reason as a stable code: `INTENT_REASON_BLACKLISTED` is `BLACKLISTED`. */
export function reasonCode(reason: IntentReason): string {
  const name = IntentReason[reason];
  return name === undefined || name === 'UNRECOGNIZED' ? `REASON_${reason}` : name.replace('INTENT_REASON_', '');
}

import { IntentReason } from '@settlement/proto/relayer/v1/relayer';
import type { ItemResult } from '../transaction/outcome.policy';

export const EXECUTED: ItemResult = { executed: true, reason: IntentReason.INTENT_REASON_UNSPECIFIED };

/** Codecs name reasons as the enum does. */
export function resultOf(outcome: { readonly executed: true } | { readonly executed: false; readonly reason: keyof typeof IntentReason }): ItemResult {
  return outcome.executed ? EXECUTED : { executed: false, reason: IntentReason[outcome.reason] as IntentReason };
}

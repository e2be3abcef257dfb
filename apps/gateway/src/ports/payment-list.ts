import type { MerchantId, PaymentId } from '@settlement/kernel/ids';
import type { Position } from '../http/cursor';

/** Which payments a merchant has, newest first. */
export interface PaymentList {
  page(query: {
    readonly merchantId: MerchantId;
    readonly limit: number;
    readonly after?: Position | undefined;
    readonly status?: string | undefined;
    readonly reference?: string | undefined;
  }): Promise<readonly { readonly paymentId: PaymentId; readonly createdAtNs: bigint }[]>;
}

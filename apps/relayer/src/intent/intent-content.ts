import { createHash } from 'node:crypto';
import { SubmitRequest } from '@settlement/proto/relayer/v1/relayer';

/** SHA-256 over the request's protobuf bytes, which ts-proto writes in field order: equal content, equal digest. */
export function contentOf(request: SubmitRequest): string {
  return createHash('sha256').update(SubmitRequest.encode(request).finish()).digest('hex');
}

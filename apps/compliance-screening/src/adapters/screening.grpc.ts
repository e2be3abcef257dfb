import { status } from '@grpc/grpc-js';
import type { ScreeningId } from '@settlement/kernel/ids';
import { ScreeningServiceService, type ListVersion, type ScreenResponse } from '@settlement/proto/screening/v1/screening';
import { rpcService, type BoundRpcService } from '@settlement/rpc/grpc-server';
import { RpcRefused } from '@settlement/rpc/rpc-error';
import type { ArchivedVersion, ListArchive } from '../ports/list-archive';
import { parseScreeningId, parseScreenRequests } from '../screening/screen-request';
import type { Screener } from '../screening/screener';
import type { ScreeningDecided } from '../screening/screening.events';

/** The service's face; errors become statuses in libs/rpc (`InvalidInput`: INVALID_ARGUMENT, no list: UNAVAILABLE). */
export function screeningGrpc(screener: Screener, archive: ListArchive): BoundRpcService {
  return rpcService(ScreeningServiceService, {
    async screen(request, call) {
      const [decided] = await screener.screenMany(parseScreenRequests([request], () => ''), call.traceparent);
      if (decided === undefined) throw notFound(request.screeningId as ScreeningId);
      return responseOf(decided);
    },
    async screenMany({ items }, call) {
      const decided = await screener.screenMany(parseScreenRequests(items, (i) => `items[${i}]`), call.traceparent);
      return { items: decided.map(responseOf) };
    },
    async getScreening({ screeningId }) {
      const id = parseScreeningId(screeningId);
      const decided = await screener.find(id);
      if (decided === undefined) throw notFound(id);
      return { screening: responseOf(decided) };
    },
    async listVersions() {
      const versions = await archive.versions();
      const active = new Map(versions.map((version) => [version.listId, version]));
      return { versions: versions.map((version) => listVersionOf(version, active.get(version.listId) === version)) };
    },
  });
}

function notFound(screeningId: ScreeningId): RpcRefused {
  return new RpcRefused('SCREENING_NOT_FOUND', `no screening ${screeningId}`, status.NOT_FOUND);
}

function responseOf(decided: ScreeningDecided): ScreenResponse {
  const { screeningId, verdict, reason, matches, listVersions, matcherVersion, rulePackVersion, decidedAtNs } = decided;
  return { screeningId, verdict, reason, matches: [...matches], listVersions: [...listVersions], matcherVersion, rulePackVersion, decidedAtNs };
}

function listVersionOf({ listId, version, sha256, loadedAtNs, shape }: ArchivedVersion, active: boolean): ListVersion {
  return { listId, version, sha256, entries: BigInt(shape.counts.entries), loadedAtNs, active };
}

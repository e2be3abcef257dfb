import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';
import type { ChainId } from '@settlement/kernel/address';
import { parseChainId } from '@settlement/kernel/address';
import type { ReservationId, SponsorId } from '@settlement/kernel/ids';
import type { Wei } from '@settlement/kernel/money';

const ID = /^[A-Za-z0-9_.:-]{1,128}$/;
/** One transaction's worth; a partition's backlog comes in several calls. */
const ITEMS_MAX = 2_000;

/** Collects every issue of a request before it refuses. */
export class RequestReader {
  private readonly issues: InputIssue[] = [];

  items<T>(items: readonly T[]): readonly T[] {
    if (items.length > ITEMS_MAX) throw new InvalidInput([{ path: 'items', message: `at most ${ITEMS_MAX} items a call` }]);
    return items;
  }

  reservationId(text: string, path: string): ReservationId {
    return this.id(text, path) as ReservationId;
  }

  sponsorId(text: string, path: string): SponsorId {
    return this.id(text, path) as SponsorId;
  }

  id(text: string, path: string): string {
    if (!ID.test(text)) this.issues.push({ path, message: 'expected 1 to 128 letters, digits, _ . : -' });
    return text;
  }

  chainId(text: string, path: string): ChainId {
    const result = parseChainId(text);
    if (result.ok) return result.value;
    this.issues.push({ path, message: result.issues[0]?.message ?? 'expected a CAIP-2 chain id' });
    return text as ChainId;
  }

  wei(text: string, path: string): Wei {
    if (/^(0|[1-9][0-9]{0,76})$/.test(text)) return BigInt(text) as Wei;
    this.issues.push({ path, message: 'expected wei as decimal digits without sign or leading zero' });
    return 0n as Wei;
  }

  hash(text: string, path: string): string {
    if (!/^0x[0-9a-f]{64}$/.test(text)) this.issues.push({ path, message: 'expected a transaction hash: 0x and 64 lower-case hex digits' });
    return text;
  }

  done(): void {
    if (this.issues.length > 0) throw new InvalidInput(this.issues.slice(0, 100));
  }
}

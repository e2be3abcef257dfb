import { invalid, parsed, type Parsed } from '@settlement/kernel/parsed';

/** Where a page ended: creation time and id, both of the page's last item. */
export interface Position {
  readonly createdAtNs: bigint;
  readonly id: string;
}

/** Opaque to callers: its inside may change, so nobody may build one. */
export function encodeCursor({ createdAtNs, id }: Position): string {
  return Buffer.from(`1.${createdAtNs}.${id}`).toString('base64url');
}

export function decodeCursor(text: string): Parsed<Position> {
  const match = /^1\.([0-9]{1,19})\.([a-z]{3}_[0-9a-z]{26})$/.exec(Buffer.from(text, 'base64url').toString('latin1'));
  const [, ns, id] = match ?? [];
  // The same cursor has one spelling: base64url ignores stray characters, an exact comparison does not.
  if (ns === undefined || id === undefined || BigInt(ns) >= 2n ** 63n) return invalid('expected a cursor as nextCursor gave it');
  const position = { createdAtNs: BigInt(ns), id };
  return encodeCursor(position) === text ? parsed(position) : invalid('expected a cursor as nextCursor gave it');
}

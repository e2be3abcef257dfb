import { createHash } from 'node:crypto';
import type { ListFile } from './list-content';

/**
 * SHA-256 over a list's files in the order of their names: for each the name, a zero byte, the length as 8 bytes big-endian
 * and the bytes. Name and length are in it, so that bytes cannot wander from one file to the next unnoticed.
 */
export function listDigest(files: readonly ListFile[]): string {
  const hash = createHash('sha256');
  for (const file of inOrder(files)) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(file.bytes.byteLength));
    hash.update(file.name, 'utf8').update('\0').update(length).update(file.bytes);
  }
  return hash.digest('hex');
}

/** By UTF-16 code units, the same on every machine. */
export function inOrder(files: readonly ListFile[]): readonly ListFile[] {
  return [...files].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

export function fileDigest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

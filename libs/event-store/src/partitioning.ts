import { createHash } from 'node:crypto';

/**
 * The first four bytes of SHA-256(stream id), big-endian, modulo the number of partitions. Fixed for the life of a log: a
 * stream that moved would lose its order. Services that change P start a new log and copy (see the ADR on growth).
 */
export function partitionOf(streamId: string, partitions: number): number {
  return createHash('sha256').update(streamId).digest().readUInt32BE(0) % partitions;
}

import { inflateRawSync } from 'node:zlib';
import { OperationalError } from '@settlement/kernel/errors';

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const STORED = 0;
const DEFLATED = 8;

/**
 * One file out of a ZIP archive (PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16), so that no `unzip` has to be installed.
 * Reads the central directory, as a local header may leave the sizes to a trailer. No ZIP64 and no encryption.
 *
 * Throws `OperationalError` (`ZIP_UNREADABLE`) where the archive is none or lacks the entry; the bytes are not checked: the
 * caller compares a digest.
 */
export function readZipEntry(archive: Buffer, wanted: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || archive.readUInt32LE(end) !== END_OF_DIRECTORY) throw unreadable('it has no directory');
  let position = archive.readUInt32LE(end + 16);
  for (let entries = archive.readUInt16LE(end + 10); entries > 0; entries -= 1) {
    if (archive.readUInt32LE(position) !== DIRECTORY_ENTRY) throw unreadable('its directory is damaged');
    const method = archive.readUInt16LE(position + 10);
    const packedLength = archive.readUInt32LE(position + 20);
    const nameLength = archive.readUInt16LE(position + 28);
    const name = archive.toString('utf8', position + 46, position + 46 + nameLength);
    if (name === wanted) return unpack(archive, archive.readUInt32LE(position + 42), method, packedLength);
    position += 46 + nameLength + archive.readUInt16LE(position + 30) + archive.readUInt16LE(position + 32);
  }
  throw unreadable(`it has no ${wanted}`);
}

function unpack(archive: Buffer, header: number, method: number, packedLength: number): Buffer {
  const start = header + 30 + archive.readUInt16LE(header + 26) + archive.readUInt16LE(header + 28);
  const packed = archive.subarray(start, start + packedLength);
  if (method === STORED) return packed;
  if (method === DEFLATED) return inflateRawSync(packed);
  throw unreadable(`it is packed by method ${method}`);
}

const unreadable = (why: string): OperationalError => new OperationalError('ZIP_UNREADABLE', `the archive cannot be read: ${why}`, 'not-done');

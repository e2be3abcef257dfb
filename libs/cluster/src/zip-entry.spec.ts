import { deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readZipEntry } from './zip-entry';

/** A ZIP archive of the given files; the second is packed, the first stored. */
function archive(files: readonly { readonly name: string; readonly content: string; readonly packed: boolean }[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, packed } of files) {
    const data = packed ? deflateRawSync(Buffer.from(content)) : Buffer.from(content);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    parts.push(local, Buffer.from(name), data);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(packed ? 8 : 0, 10);
    entry.writeUInt32LE(data.length, 20);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(offset, 42);
    directory.push(entry, Buffer.from(name));
    offset += 30 + name.length + data.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

describe('an entry of a ZIP archive', () => {
  const zip = archive([{ name: 'a/plain', content: 'one', packed: false }, { name: 'b/packed', content: 'two'.repeat(100), packed: true }]);

  it('is read whether stored or packed', () => {
    expect(readZipEntry(zip, 'a/plain').toString()).toBe('one');
    expect(readZipEntry(zip, 'b/packed').toString()).toBe('two'.repeat(100));
  });

  it('is refused where it is missing or the archive is none', () => {
    expect(() => readZipEntry(zip, 'c')).toThrow('it has no c');
    expect(() => readZipEntry(Buffer.from('nothing'), 'c')).toThrow('it has no directory');
  });
});

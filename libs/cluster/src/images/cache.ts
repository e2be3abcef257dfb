import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '@settlement/config/cache-folder';

export const imagesFolder = (): string => join(cacheFolder(), 'images');

/** What is known of an image whose archive lies in the cache. */
export interface ImageRecord {
  /** With registry and tag. */
  readonly image: string;
  /** Of the image's configuration. */
  readonly digest: string;
  readonly tar: string;
  /** Of the archive. */
  readonly bytes: number;
  /** Hexadecimal SHA-256 of everything that went in, the commit's time and name included. */
  readonly inputs: string;
  readonly sbom?: string;
}

const recordPath = (tag: string, name: string): string => join(imagesFolder(), tag, `${name}.json`);

/** The record of an image whose archive is whole; undefined when it has to be made. */
export function readRecord(tag: string, name: string): ImageRecord | undefined {
  const path = recordPath(tag, name);
  if (!existsSync(path)) return undefined;
  const record = JSON.parse(readFileSync(path, 'utf8')) as ImageRecord;
  const status = statSync(record.tar, { throwIfNoEntry: false });
  return status?.size === record.bytes ? record : undefined;
}

/** Last of all: an interrupted build leaves no record and is made again. */
export function writeRecord(tag: string, name: string, record: ImageRecord): void {
  const path = recordPath(tag, name);
  writeFileSync(`${path}.partial`, `${JSON.stringify(record, undefined, 1)}\n`);
  renameSync(`${path}.partial`, path);
}

export function removeRecord(tag: string, name: string): void {
  rmSync(recordPath(tag, name), { force: true });
}

export function tagFolder(tag: string): string {
  const folder = join(imagesFolder(), tag);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Says that a tag is in use, for `staleTags`. */
export function touchTag(tag: string): void {
  const now = new Date();
  utimesSync(tagFolder(tag), now, now);
}

/** All tags that the cache has, the most recently used first. */
export function tagsInUse(): readonly string[] {
  if (!existsSync(imagesFolder())) return [];
  return readdirSync(imagesFolder(), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({ name, usedMs: statSync(join(imagesFolder(), name)).mtimeMs }))
    .sort((a, b) => b.usedMs - a.usedMs)
    .map(({ name }) => name);
}

/** Tags beyond the `keep` most recently used ones. */
export const staleTags = (keep: number): readonly string[] => tagsInUse().slice(keep);

/** Records of all images with this tag. */
export function recordsOf(tag: string): readonly ImageRecord[] {
  const folder = join(imagesFolder(), tag);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !name.endsWith('.cdx.json'))
    .map((name) => readRecord(tag, name.slice(0, -'.json'.length)))
    .filter((record) => record !== undefined);
}

export function removeTag(tag: string): void {
  rmSync(join(imagesFolder(), tag), { recursive: true, force: true });
}

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '@settlement/config/repository-root';
import { isProgramImage, type ImageName } from './catalogue';
import { attempt, run } from './command';

/** Where an image's archive keeps what its bill of materials is about. */
const PLACES = { programs: 'app/sbom.cdx.json', debian: 'var/lib/dpkg/status', jars: 'opt/kafka/lib' } as const;

/**
 * Writes the bill of materials beside an archive: a copy of the one inside, or for Postgres and Kafka one of the Debian packages and jars
 * that the archive holds. Read from the archive and not from an engine, so that it is about what will be shipped.
 */
export async function writeBill({ name, tar, sbom, epochSeconds }: { readonly name: ImageName; readonly tar: string; readonly sbom: string; readonly epochSeconds: number }): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'settlement-bill-'));
  try {
    await takeOut(tar, folder, isProgramImage(name) ? [PLACES.programs] : [PLACES.debian, PLACES.jars]);
    if (isProgramImage(name)) copyFileSync(join(folder, PLACES.programs), sbom);
    else await run(process.execPath, [join(repositoryRoot, 'deploy/images/foundation-sbom.mjs'), name, folder, sbom, String(epochSeconds)]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Files and folders of an image, from the layers of its archive; what a later layer has wins. Paths that no layer has are left out. */
async function takeOut(tar: string, folder: string, paths: readonly string[]): Promise<void> {
  const manifest = JSON.parse(await run('tar', ['-xOf', tar, 'manifest.json'])) as readonly { readonly Layers: readonly string[] }[];
  for (const layer of manifest[0]?.Layers ?? []) {
    // tar ends with 2 when a layer has none of the paths, which is what most layers do.
    for (const path of paths) await attempt('sh', ['-c', 'tar -xOf "$1" "$2" | tar -xf - -C "$3" "$4"', 'sh', tar, layer, folder, path]);
  }
}

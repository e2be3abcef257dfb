import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { peerPackages } from './peer-packages';

// The first run on a machine downloads.
it('installs foreign packages exactly as locked, where their programs find them, and only once', { timeout: 600_000 }, async () => {
  const first = await peerPackages('x402');
  expect(existsSync(join(first.nodeModules, '@x402', 'fetch'))).toBe(true);
  const versions = execFileSync(process.execPath, [join(first.programs, 'versions.mjs')], { encoding: 'utf8' });
  expect(JSON.parse(versions)).toEqual({ '@x402/fetch': '2.27.0', '@x402/express': '2.27.0', 'x402-fetch': '1.2.0', 'x402-express': '1.2.0' });

  const startedMs = performance.now();
  expect(await peerPackages('x402')).toEqual(first);
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});

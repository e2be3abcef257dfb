import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** Says when it is up, and leaves in its own time and way when it is told to. */
const PROGRAM = `
process.on('SIGINT', () => setTimeout(() => { process.stdout.write('put away\\n'); process.exit(3); }, 200));
setInterval(() => undefined, 1_000);
process.stdout.write('up\\n');
`;

let clone: string;

/** A clone that was never prepared, with stand-ins for the tools of its set-up: what they do is not the matter here. */
beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'settlement-run-'));
  const bin = join(clone, 'node_modules/.bin');
  for (const folder of [bin, ...['tools', 'path', 'proto/gen', 'libs/contracts/src/generated'].map((name) => join(clone, name))]) mkdirSync(folder, { recursive: true });
  copyFileSync(resolve('tools/run.mjs'), join(clone, 'tools/run.mjs'));
  writeFileSync(join(clone, 'tools/bundle.mjs'), `import { copyFileSync, mkdirSync } from 'node:fs';\nimport { dirname } from 'node:path';\nconst [, , from, to] = process.argv;\nmkdirSync(dirname(to), { recursive: true });\ncopyFileSync(from, to);\n`);
  writeFileSync(join(clone, 'package-lock.json'), '{}');
  writeFileSync(join(clone, 'program.ts'), PROGRAM);
  symlinkSync(process.execPath, join(bin, 'node'));
  for (const tool of [join(bin, 'buf'), join(clone, 'path/npm')]) {
    writeFileSync(tool, '#!/bin/sh\nexit 0\n');
    chmodSync(tool, 0o755);
  }
});
afterEach(() => rmSync(clone, { recursive: true, force: true }));

describe('tools/run.mjs', () => {
  it.each(['the run that prepares the clone', 'every later one'])('hands a signal on and waits for what the program makes of it (%s)', async (which) => {
    const started = (): { readonly up: Promise<void>; readonly ended: Promise<{ readonly code: number | null; readonly said: string }>; readonly interrupt: () => void } => {
      const child = spawn(process.execPath, ['tools/run.mjs', 'exec', 'program.ts'], { cwd: clone, env: { ...process.env, PATH: `${join(clone, 'path')}:${process.env['PATH'] ?? ''}` }, stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      const up = new Promise<void>((done, failed) => {
        child.once('close', () => failed(new Error(said)));
        child.stdout.on('data', (bytes: Buffer) => {
          said += bytes.toString();
          if (said.includes('up\n')) done();
        });
      });
      child.stderr.on('data', (bytes: Buffer) => void (said += bytes.toString()));
      // 'close' comes when the last process that holds the pipes is gone, the program among them.
      return { up, ended: new Promise((done) => child.once('close', (code) => done({ code, said }))), interrupt: () => void child.kill('SIGINT') };
    };
    if (which === 'every later one') {
      const first = started();
      await first.up;
      first.interrupt();
      await first.ended;
    }
    const run = started();
    await run.up;
    run.interrupt();
    const { code, said } = await run.ended;
    expect(said.includes('installing packages')).toBe(which !== 'every later one');
    expect(said).toContain('put away');
    expect(code).toBe(3);
  });
});

import { describe, expect, it } from 'vitest';
import { runProgram } from './command';

const node = process.execPath;
const script = (text: string): readonly string[] => ['-e', text];

describe('a program that is run', () => {
  it('answers its output, and gets what it reads', async () => {
    expect(await runProgram(node, script("process.stdin.pipe(process.stdout)"), { input: 'a\nb' })).toBe('a\nb');
  });

  it('shows each line of both outputs as it comes', async () => {
    const lines: string[] = [];
    await runProgram(node, script("console.log('one'); console.error('two')"), { onLine: (line) => lines.push(line) });
    expect(lines.sort()).toEqual(['one', 'two']);
  });

  it('fails with what it said', async () => {
    await expect(runProgram(node, script("console.error('no disk'); process.exit(3)"))).rejects.toMatchObject({ code: 'COMMAND_FAILED', outcome: 'unknown', message: expect.stringMatching(/exit code 3\nno disk$/) });
  });

  it('has done nothing where it does not exist', async () => {
    await expect(runProgram('/nowhere/kubectl', [])).rejects.toMatchObject({ code: 'PROGRAM_NOT_STARTED', outcome: 'not-done' });
  });

  it('is ended when its time is up', async () => {
    await expect(runProgram(node, script('setInterval(() => {}, 1000)'), { timeoutMs: 200 })).rejects.toMatchObject({ code: 'COMMAND_TIMED_OUT', outcome: 'unknown' });
  });

  it('may clean up when it is cancelled', async () => {
    const abort = new AbortController();
    const lines: string[] = [];
    const running = runProgram(node, script("process.on('SIGTERM', () => { console.log('cleaned'); process.exit(1); }); setInterval(() => {}, 1000); console.log('ready')"), {
      signal: abort.signal,
      onLine: (line) => {
        lines.push(line);
        if (line === 'ready') abort.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ code: 'CANCELLED', outcome: 'unknown' });
    expect(lines).toEqual(['ready', 'cleaned']);
  });

  it('is killed when it does not end by itself', async () => {
    const abort = new AbortController();
    const running = runProgram(node, script("process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('ready')"), { signal: abort.signal, killAfterMs: 100, onLine: () => { abort.abort(); } });
    await expect(running).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('is not begun after a cancellation', async () => {
    await expect(runProgram(node, script(''), { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED', outcome: 'not-done' });
  });
});

const cleanups = new Set<() => void>();
let installed = false;

/**
 * Runs `cleanup`, which must not wait for anything, when this process exits or is interrupted. One set of handlers for all
 * that this library starts: where the application has its own signal handlers it is left to drain, and the exit follows.
 */
export function atExit(cleanup: () => void): void {
  cleanups.add(cleanup);
  if (installed) return;
  installed = true;
  const runAll = (): void => {
    for (const each of cleanups) each();
    cleanups.clear();
  };
  process.once('exit', runAll);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = (): void => {
      if (process.listenerCount(name) > 1) return;
      runAll();
      process.removeListener(name, onSignal);
      process.kill(process.pid, name);
    };
    process.on(name, onSignal);
  }
}

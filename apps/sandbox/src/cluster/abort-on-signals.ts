/**
 * A signal that Ctrl-C aborts: what runs then ends in order and cleans up; a second one leaves at once. `leave` is for
 * commands that have handlers of their own.
 */
export function abortOnSignals(how: 'take' | 'leave'): { readonly signal: AbortSignal; release(): void } {
  const abort = new AbortController();
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (): void => {
    if (abort.signal.aborted) process.exit(130);
    process.stderr.write('\nstopping and cleaning up; once more to leave at once\n');
    abort.abort();
  };
  if (how === 'take') for (const name of names) process.on(name, onSignal);
  return {
    signal: abort.signal,
    release: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}

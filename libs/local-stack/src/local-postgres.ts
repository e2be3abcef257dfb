/** A real Postgres on this machine, as processes or in a container. */
export interface LocalPostgres {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  /** The postmaster's process id; changes with `start`. */
  readonly pid: number;
  readonly logFile: string;
  /** `user` defaults to the superuser `postgres`. Connections from this machine need no password. */
  urlFor(database: string, user?: string): string;
  /** Fast shutdown: open transactions are rolled back. Removes the files unless persistent. Harmless when called again. */
  stop(): Promise<void>;
  /** SIGKILL to the postmaster and its backends, as a crash of the machine; the files stay for `start`. */
  kill9(): Promise<void>;
  /** Fast shutdown that keeps the files for `start`, also when not persistent. */
  shutDown(): Promise<void>;
  /** After `kill9` or `shutDown`: starts again on the same port and files. */
  start(): Promise<void>;
  /** SIGSTOP to all processes of the cluster: it stands still without closing a connection. */
  freeze(): void;
  /** SIGCONT to all processes of the cluster. */
  thaw(): void;
}

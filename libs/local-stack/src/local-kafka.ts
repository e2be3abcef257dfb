export interface KafkaOptions {
  /** Where the broker's files stand. A new folder under the temporary directory, removed on stop, when absent. */
  readonly dataDir?: string;
  /** Keeps files and ports on stop. */
  readonly persistent?: boolean;
  readonly heapMb?: number;
  /** Where it listens, and the port that clients are told instead: of a proxy that leads there. A broker on Java only. */
  readonly behind?: { readonly port: number; readonly advertisedPort: number };
  /** Speaks TLS alone, and with nobody who shows no certificate of this authority. A broker on Java only. */
  readonly tls?: LocalKafkaTls;
}

/** PEM texts. */
export interface LocalKafkaTls {
  readonly ca: string;
  /** For 127.0.0.1. */
  readonly server: { readonly certificate: string; readonly key: string };
  /** Shown while it is waited for. */
  readonly client: { readonly certificate: string; readonly key: string };
}

/** One real broker, its own controller (KRaft), on this machine only. */
export interface LocalKafka {
  readonly brokers: readonly string[];
  /** Clean shutdown; removes the files unless persistent. Harmless when called again. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash would; the files stay for `restart`. */
  kill9(): Promise<void>;
  /** Starts again on the same address and files, after a clean shutdown when it still runs. */
  restart(): Promise<void>;
}

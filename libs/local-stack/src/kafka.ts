import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { OperationalError } from '@settlement/kernel/errors';
import { atExit } from './at-exit';
import { containersAnswer, containersRequired } from './container-engine';
import { freePort } from './free-port';
import { startKafkaContainer } from './kafka-container';
import type { KafkaOptions, LocalKafka } from './local-kafka';
import { locateKafka, type KafkaDistribution } from './kafka-jars';
import { kafkaAnswers } from './kafka-readiness';
import { killedWithParent } from './parent-death';
import { isAlive } from './process-tree';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 20_000;
const TEMPORARY_PREFIX = 'settlement-kafka-';

/**
 * A broker in a container where a Docker API answers, else one on this machine's Java with classes that Maven fetches. Throws
 * `OperationalError` `KAFKA_UNAVAILABLE` that says what to install when neither is possible.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<LocalKafka> {
  let containerFailure: unknown;
  if (options.persistent !== true && options.behind === undefined && options.tls === undefined && (await containersAnswer())) {
    try {
      return await startKafkaContainer(options);
    } catch (error) {
      if (containersRequired()) throw error;
      // An engine without the image and without a registry: Java may still do.
      containerFailure = error;
    }
  }
  try {
    return await startOnJava(options, await locateKafka());
  } catch (error) {
    if (containerFailure === undefined) throw error;
    throw new OperationalError('KAFKA_UNAVAILABLE', `neither a container (${String(containerFailure)}) nor Java (${String(error)}) brings up a broker`, 'not-done', { cause: error });
  }
}

// ---- on this machine's Java ------------------------------------------------------------------------------------------

async function startOnJava(options: KafkaOptions, distribution: KafkaDistribution): Promise<LocalKafka> {
  sweepAbandoned();
  const directory = options.dataDir === undefined ? mkdtempSync(join(tmpdir(), TEMPORARY_PREFIX)) : resolve(options.dataDir);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'owner.pid'), String(process.pid));
  const broker = new JavaBroker(directory, options, distribution);
  try {
    await broker.prepare();
    await broker.start();
    return broker;
  } catch (error) {
    await broker.stop();
    throw error;
  }
}

class JavaBroker implements LocalKafka {
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #port = 0;

  constructor(
    private readonly directory: string,
    private readonly options: KafkaOptions,
    private readonly distribution: KafkaDistribution,
  ) {}

  get brokers(): readonly string[] {
    return [`${HOST}:${this.options.behind?.advertisedPort ?? this.#port}`];
  }

  get #logFile(): string {
    return join(this.directory, 'broker.log');
  }

  /** Ports are chosen once: the formatted storage names the controller's address. */
  async prepare(): Promise<void> {
    const properties = join(this.directory, 'server.properties');
    if (existsSync(join(this.directory, 'data', 'meta.properties')) && existsSync(properties)) {
      this.#port = Number(/^listeners=[A-Z]+:\/\/[^:]+:([0-9]+)/m.exec(readFileSync(properties, 'utf8'))?.[1] ?? 0);
      return;
    }
    this.#port = this.options.behind?.port ?? (await freePort());
    const controllerPort = await freePort();
    writeFileSync(properties, serverProperties(this.#port, this.options.behind?.advertisedPort ?? this.#port, controllerPort, join(this.directory, 'data')) + this.#tlsProperties());
    writeFileSync(join(this.directory, 'log4j2.properties'), LOG4J_PROPERTIES);
    const formatted = spawnSync(
      this.distribution.java,
      [...this.#jvmArgs(128), 'kafka.tools.StorageTool', 'format', '--cluster-id', 'c2V0dGxlbWVudC1sb2NhbA', '--standalone', '--config', properties],
      { encoding: 'utf8' },
    );
    if (formatted.status !== 0) {
      throw new OperationalError('KAFKA_NOT_STARTED', `its storage could not be formatted: ${formatted.stderr}${formatted.stdout}`, 'not-done');
    }
  }

  #tlsProperties(): string {
    const { tls } = this.options;
    if (tls === undefined) return 'listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT\n';
    const [keys, authority] = [join(this.directory, 'server.pem'), join(this.directory, 'ca.pem')];
    writeFileSync(keys, `${tls.server.key}${tls.server.certificate}`, { mode: 0o600 });
    writeFileSync(authority, tls.ca);
    return `listener.security.protocol.map=CLIENTS:SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=${keys}
ssl.truststore.type=PEM
ssl.truststore.location=${authority}
ssl.client.auth=required
`;
  }

  #jvmArgs(heapMb: number): string[] {
    return [
      `-Xmx${heapMb}m`,
      // The machine has other things to do: one collector thread, no resident reserve beyond the heap.
      '-XX:+UseSerialGC', '-XX:+ExitOnOutOfMemoryError', '-Djava.awt.headless=true',
      `-Dlog4j2.configurationFile=${join(this.directory, 'log4j2.properties')}`,
      '-cp', this.distribution.classpath,
    ];
  }

  async start(): Promise<void> {
    const [program, ...args] = [...killedWithParent(), this.distribution.java, ...this.#jvmArgs(this.options.heapMb ?? 512), 'kafka.Kafka', join(this.directory, 'server.properties')];
    if (program === undefined) throw new OperationalError('KAFKA_NOT_STARTED', 'no program to start', 'not-done');
    const log = openSync(this.#logFile, 'a');
    // detached: Ctrl-C in a terminal must reach the services first, which still want to publish while they drain.
    const child = spawn(program, args, { cwd: this.directory, stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    this.#child = child;
    this.#exited = new Promise((done) => {
      const ended = (): void => {
        if (this.#child === child) this.#child = undefined;
        done();
      };
      child.once('exit', ended);
      child.once('error', ended);
    });
    running.add(this);
    installExitHook();
    writeFileSync(join(this.directory, 'broker.pid'), String(child.pid ?? 0));
    const deadlineMs = Date.now() + START_TIMEOUT_MS;
    await kafkaAnswers(
      this.brokers,
      deadlineMs,
      () => {
        if (this.#child !== child) throw new OperationalError('KAFKA_NOT_STARTED', `the broker ended: ${this.#logTail()}`, 'not-done');
      },
      this.options.tls,
    );
  }

  #logTail(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-12).join(' | ') : '(no log)';
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    running.delete(this);
    this.#remove();
  }

  kill9(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.start();
  }

  async #end(how: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill(how);
    const timeout = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timeout);
  }

  /** For the parent's own end, where nothing can be awaited. */
  endNow(): void {
    this.#child?.kill(this.options.persistent === true ? 'SIGTERM' : 'SIGKILL');
    this.#remove();
  }

  #remove(): void {
    if (this.options.persistent !== true) rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}

function serverProperties(port: number, advertisedPort: number, controllerPort: number, dataDir: string): string {
  return `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=${HOST}:${controllerPort}
controller.listener.names=CONTROLLER
listeners=CLIENTS://${HOST}:${port},CONTROLLER://${HOST}:${controllerPort}
advertised.listeners=CLIENTS://${HOST}:${advertisedPort},CONTROLLER://${HOST}:${controllerPort}
inter.broker.listener.name=CLIENTS
log.dirs=${dataDir}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# After a crash the broker may come back only when its former session has run out.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
# Segments are allocated lazily; a dozen topics must not reserve gigabytes of a laptop.
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
# Nothing leaves this machine.
metric.reporters=
`;
}

const LOG4J_PROPERTIES = `status=error
appenders=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c: %m%n
rootLogger.level=warn
rootLogger.appenderRefs=console
rootLogger.appenderRef.console.ref=console
`;

const running = new Set<JavaBroker>();
let hookInstalled = false;

function installExitHook(): void {
  if (hookInstalled) return;
  hookInstalled = true;
  atExit(() => {
    for (const broker of running) broker.endNow();
    running.clear();
  });
}

/** Removes temporary brokers whose owner was killed before it could; the kernel has ended their processes. */
function sweepAbandoned(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(TEMPORARY_PREFIX))) {
    const directory = join(tmpdir(), name);
    const owners = ['owner.pid', 'broker.pid'].map((file) => join(directory, file)).filter((file) => existsSync(file));
    const pids = owners.map((file) => Number(readFileSync(file, 'utf8')));
    if (pids.length === 0 || pids.some((pid) => pid > 0 && isAlive(pid))) continue;
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A cluster on this very machine, whatever it is made of. */
export interface LocalCluster {
  /** `own`: deploy/cluster/kube; `kind`: kind with Docker. */
  readonly driver: 'own' | 'kind';
  readonly name: string;
  /** Path of the file that points kubectl and helm at it; it is there from `up` to `down`. */
  readonly kubeconfig: string;
  /**
   * Builds or fetches what `up` and the operators need, once a machine; returns at once when all is there. An interrupted
   * call goes on where it was.
   */
  prepare(operators: readonly Operator[], options?: Progress): Promise<void>;
  /** Returns when all nodes are ready and DNS answers. Throws `CLUSTER_EXISTS` when it is up; an aborted call leaves nothing running. */
  up(options: UpOptions): Promise<void>;
  /** Leaves no process, mount, network, control group or folder. Does nothing where there is no such cluster. */
  down(options?: Progress): Promise<void>;
  /** Undefined where there is no such cluster. */
  status(): Promise<ClusterStatus | undefined>;
  /** Puts images (`docker save` archives) on all nodes; what a node has already costs nothing. */
  loadImages(archives: readonly string[], options?: Progress): Promise<void>;
  /** Returns when the operators' webhooks answer. */
  installOperators(operators: readonly Operator[], options?: Progress): Promise<void>;
  /** Runs a program of the node itself, beside its pods, and answers its standard output. */
  onNode(node: string, command: readonly string[]): Promise<string>;
  /** Power off, with no warning: pods included, and the network first, so that no peer hears a goodbye. */
  killNode(node: string): Promise<void>;
  startNode(node: string): Promise<void>;
}

export const operators = ['cloudnative-pg', 'cert-manager', 'prometheus-operator', 'keda', 'prometheus', 'chaos-mesh', 'strimzi-crds'] as const;
export type Operator = (typeof operators)[number];

/** What every deployment of the chart with local values needs. */
export const defaultOperators: readonly Operator[] = ['cloudnative-pg', 'cert-manager'];

export interface Progress {
  readonly signal?: AbortSignal;
  /** One line a step. */
  readonly onLine?: (line: string) => void;
}

export interface UpOptions extends Progress {
  /** 1 to 9. */
  readonly nodes: number;
}

export interface ClusterStatus {
  readonly name: string;
  readonly kubeconfig: string;
  readonly machines: readonly ClusterMachine[];
}

export interface ClusterMachine {
  readonly name: string;
  readonly role: 'control-plane' | 'node';
  /** IPv4, reached from this machine. */
  readonly address: string;
  readonly running: boolean;
  /** Undefined where the driver cannot tell. */
  readonly residentMiB?: number;
  readonly processorSeconds?: number;
}

/** The machines that run workloads. */
export function nodesOf(status: ClusterStatus): readonly ClusterMachine[] {
  return status.machines.filter(({ role }) => role === 'node');
}

import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { OperationalError } from '@settlement/kernel/errors';
import { parse } from 'yaml';
import { z } from 'zod';

/** What both tools of local clusters write: one server, its authority, and a client's certificate. */
const kubeconfigSchema = z.object({
  'current-context': z.string(),
  contexts: z.array(z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: z.string() }) })),
  clusters: z.array(z.object({ name: z.string(), cluster: z.object({ server: z.string(), 'certificate-authority-data': z.string().optional() }) })),
  users: z.array(z.object({ name: z.string(), user: z.object({ 'client-certificate-data': z.string().optional(), 'client-key-data': z.string().optional() }) })),
});

const ANSWER_MS_MAX = 30_000;

/**
 * Reads from an API server over connections that are kept. For what is asked again and again: each kubectl costs a fifth of a
 * second of processor time to start, and looking twice a second took nearly half a core from the very cluster that was looked at.
 */
export class KubeApi {
  private constructor(
    private readonly server: URL,
    private readonly agent: http.Agent,
  ) {}

  /** Throws what reading and parsing a kubeconfig throws. */
  static from(kubeconfig: string): KubeApi {
    const config = kubeconfigSchema.parse(parse(readFileSync(kubeconfig, 'utf8')));
    const context = config.contexts.find(({ name }) => name === config['current-context'])?.context;
    const cluster = config.clusters.find(({ name }) => name === context?.cluster)?.cluster;
    const user = config.users.find(({ name }) => name === context?.user)?.user;
    if (cluster === undefined) throw new OperationalError('KUBECONFIG_INCOMPLETE', `${kubeconfig} names no cluster for its current context`, 'not-done');
    const server = new URL(cluster.server);
    const decoded = (data: string | undefined): Buffer | undefined => (data === undefined ? undefined : Buffer.from(data, 'base64'));
    const pems = { ca: decoded(cluster['certificate-authority-data']), cert: decoded(user?.['client-certificate-data']), key: decoded(user?.['client-key-data']) };
    const present = Object.fromEntries(Object.entries(pems).filter(([, pem]) => pem !== undefined));
    return new KubeApi(server, server.protocol === 'https:' ? new https.Agent({ keepAlive: true, maxSockets: 4, ...present }) : new http.Agent({ keepAlive: true, maxSockets: 4 }));
  }

  /**
   * The JSON at a path such as `/api/v1/namespaces/settlement/pods`. Throws `OperationalError`: `KUBE_API_UNREACHABLE` when there
   * is no answer, `KUBE_API_REFUSED` with the server's words when it is not 200; nothing was changed in either case.
   */
  async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    const { status, body } = await this.ask(path, signal);
    if (status !== 200) throw new OperationalError('KUBE_API_REFUSED', `${path}: ${status} ${body.slice(0, 300)}`, 'done');
    return JSON.parse(body) as T;
  }

  private ask(path: string, signal: AbortSignal | undefined): Promise<{ readonly status: number; readonly body: string }> {
    const { request } = this.server.protocol === 'https:' ? https : http;
    const ended = signal === undefined ? AbortSignal.timeout(ANSWER_MS_MAX) : AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
    return new Promise((resolve, reject) => {
      const failed = (cause: Error): void => reject(new OperationalError(signal?.aborted === true ? 'CANCELLED' : 'KUBE_API_UNREACHABLE', `${path}: ${cause.message}`, 'done', { cause }));
      const asked = request(new URL(path, this.server), { agent: this.agent, signal: ended, headers: { accept: 'application/json' } }, (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('error', failed);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts).toString() }));
      });
      asked.on('error', failed);
      asked.end();
    });
  }
}

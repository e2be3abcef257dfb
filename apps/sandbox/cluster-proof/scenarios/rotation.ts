import { systemClock } from '@settlement/config/system-ports';
import { namespaces } from '../../src/cluster/installation';
import { allServicePods, inPod, restartsOf, servicePods } from '../../src/cluster/pod-control';
import { isReady } from '../../src/cluster/unready';
import { serviceNames, type ServiceName } from '../../src/service-process';
import { seconds } from '../pauses';
import type { Proof, Scenario } from '../proof';

const ISSUED_WITHIN_MS = 60_000;
/** The kubelet looks at mounted Secrets about once a minute. */
const MOUNTED_WITHIN_MS = 180_000;

export const rotation: Scenario = {
  name: 'rotation',
  hypothesis: 'new certificates for every service under load: no restart, no failed request',
  async run(proof) {
    await proof.underLoad({ label: 'rotation', failures: 'none' }, async () => {
      const before = await servedSerials(proof);
      const startedAtMs = performance.now();
      const pods = await allServicePods(proof.cluster);
      // As `cmctl renew` does: the status says that it is to be issued again.
      for (const service of serviceNames) await renew(proof, service);
      await until(async () => (await issuedSerials(proof)).every(([service, serial]) => serial !== '' && serial !== before.get(service)), ISSUED_WITHIN_MS, 'cert-manager has issued five new certificates');
      proof.figure('cert-manager has issued five new leaves after', seconds(performance.now() - startedAtMs));
      await until(async () => {
        const now = await servedSerials(proof);
        return serviceNames.every((service) => now.get(service) !== before.get(service));
      }, MOUNTED_WITHIN_MS, 'every service serves its new certificate');
      proof.figure('every pod serves its new certificate after', seconds(performance.now() - startedAtMs));
      const after = await servedSerials(proof);
      proof.fault(serviceNames.filter((service) => service !== 'gateway').map((service) => `${service}: serial ${before.get(service) ?? '?'} → ${after.get(service) ?? '?'}`).join('; '));
      const now = await allServicePods(proof.cluster);
      const same = pods.filter((old) => now.some((pod) => pod.metadata.uid === old.metadata.uid && restartsOf(pod) === restartsOf(old))).length;
      proof.check('no pod was restarted for it', same === pods.length, `${same} of ${pods.length} pods are the same and were not restarted`);
    });
  },
};

async function renew(proof: Proof, service: ServiceName): Promise<void> {
  const name = `settlement-${service}`;
  const status = { conditions: [{ type: 'Issuing', status: 'True', reason: 'ManuallyTriggered', message: 'renewed by the proof', lastTransitionTime: new Date().toISOString() }] };
  const { items } = await proof.cluster.get<{ items: readonly { metadata: { name: string }; spec: { secretName: string }; status: { conditions: readonly { type: string }[] } }[] }>(`/apis/cert-manager.io/v1/namespaces/${namespaces.settlement}/certificates`);
  const certificate = items.find(({ spec }) => spec.secretName === `${name}-tls`);
  if (certificate === undefined) throw new Error(`no Certificate fills ${name}-tls`);
  const others = certificate.status.conditions.filter(({ type }) => type !== 'Issuing');
  await proof.cluster.kubectl(['patch', 'certificates.cert-manager.io', certificate.metadata.name, '-n', namespaces.settlement, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { conditions: [...others, ...status.conditions] } })]);
}

/** Serial number of the certificate in each service's Secret. */
async function issuedSerials(proof: Proof): Promise<readonly (readonly [ServiceName, string])[]> {
  const { X509Certificate } = await import('node:crypto');
  return Promise.all(
    serviceNames.map(async (service) => {
      const { data } = await proof.cluster.get<{ data?: Record<string, string> }>(`/api/v1/namespaces/${namespaces.settlement}/secrets/settlement-${service}-tls`);
      const pem = Buffer.from(data?.['tls.crt'] ?? '', 'base64').toString();
      return [service, pem === '' ? '' : new X509Certificate(pem).serialNumber] as const;
    }),
  );
}

/** Serial that each service shows to a caller (the gateway serves no gRPC: the file that it dials with). All pods of one must agree, or it is `mixed`. */
async function servedSerials(proof: Proof): Promise<ReadonlyMap<ServiceName, string>> {
  const served = new Map<ServiceName, string>();
  for (const service of serviceNames) {
    const pods = (await servicePods(proof.cluster, service)).filter(isReady);
    const serials = await Promise.all(pods.map((pod) => asked(proof, pod.metadata.name, service === 'gateway' ? fileSerial : handshakeSerial)));
    const distinct = new Set(serials.map((serial) => serial.trim()));
    served.set(service, distinct.size === 1 ? ([...distinct][0] ?? '') : 'mixed');
  }
  return served;
}

/** A busy node's runtime may take long for one exec; the question is harmless and is asked again. */
async function asked(proof: Proof, pod: string, program: string): Promise<string> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await inPod(proof.cluster, pod, program);
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

const fileSerial = "console.log(new (require('node:crypto').X509Certificate)(require('node:fs').readFileSync('/etc/settlement/tls/tls.crt')).serialNumber)";
// With its own certificate, since a server takes no connection without one; the chain's check is not what is asked here.
const handshakeSerial =
  "const fs=require('node:fs'),d='/etc/settlement/tls/';const s=require('node:tls').connect({port:9090,host:'127.0.0.1',ALPNProtocols:['h2'],rejectUnauthorized:false,cert:fs.readFileSync(d+'tls.crt'),key:fs.readFileSync(d+'tls.key')},()=>{console.log(s.getPeerCertificate().serialNumber);process.exit(0)});s.on('error',(e)=>{console.log(String(e));process.exit(0)})";

async function until(holds: () => Promise<boolean>, withinMs: number, what: string): Promise<void> {
  const deadline = systemClock.monotonicMs() + withinMs;
  while (!(await holds())) {
    if (systemClock.monotonicMs() > deadline) throw new Error(`not within ${withinMs / 1_000} s: ${what}`);
    await systemClock.sleep(1_000);
  }
}

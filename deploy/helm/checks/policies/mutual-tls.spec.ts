import { ruleSuite } from '../rule-suite';
import { mutualTls } from './mutual-tls.policy';

const relayer = 'Deployment/settlement-relayer';
const certificate = 'Certificate/settlement-relayer';
const pod = ['spec', 'template', 'spec'] as const;
const first = [...pod, 'containers', 0] as const;

ruleSuite(mutualTls, [
  { what: 'clear text', plant: (release) => release.set('ConfigMap/settlement-relayer', ['data', 'TLS_CERT_FILE'], undefined), found: /settlement-relayer .*TLS_CERT_FILE is missing/ },
  { what: 'clear text that is allowed', plant: (release) => release.set('ConfigMap/settlement-relayer', ['data', 'ALLOW_PLAINTEXT'], 'true'), found: /ALLOW_PLAINTEXT is true/ },
  { what: 'a certificate that is not mounted', plant: (release) => release.set(relayer, [...first, 'volumeMounts'], []), found: /volumeMounts: has none at/ },
  { what: 'a single mounted file', plant: (release) => [0, 1, 2, 3].forEach((index) => release.set(relayer, [...first, 'volumeMounts', index, 'subPath'], 'tls.crt')), found: /subPath: is never renewed/ },
  { what: 'the certificate of another', plant: (release) => release.set(relayer, [...pod, 'volumes'], [{ name: 'tls', secret: { secretName: 'settlement-gateway-tls' } }]), found: /secretName: is settlement-gateway-tls instead of/ },
  { what: 'an identity of another', plant: (release) => release.set(certificate, ['spec', 'uris'], ['spiffe://settlement/gateway']), found: /uris: is not spiffe:\/\/settlement\/relayer alone/ },
  { what: 'two identities', plant: (release) => release.push(certificate, ['spec', 'uris'], 'spiffe://settlement/operator'), found: /uris: is not spiffe/ },
  { what: 'a name that is not the Service’s', plant: (release) => release.set(certificate, ['spec', 'dnsNames'], ['settlement-relayer.example']), found: /dnsNames: lacks settlement-relayer, by which Service\/settlement-relayer is called/ },
  { what: 'a name of another service', plant: (release) => release.push(certificate, ['spec', 'dnsNames'], 'settlement-gateway'), found: /has settlement-gateway, which is another/ },
  { what: 'a certificate for servers alone', plant: (release) => release.set(certificate, ['spec', 'usages'], ['digital signature', 'server auth']), found: /usages: lacks client auth/ },
  { what: 'a service that is an authority', plant: (release) => release.set(certificate, ['spec', 'isCA'], true), found: /lets a service sign for others/ },
  { what: 'a missing certificate', plant: (release) => release.remove(certificate), found: /Deployment\/settlement-relayer: 0 Certificates fill settlement-relayer-tls/ },
  { what: 'a key that is kept', plant: (release) => release.set(certificate, ['spec', 'privateKey', 'rotationPolicy'], 'Never'), found: /keeps one key for ever/ },
  { what: 'an optional certificate', plant: (release) => [0, 1, 2, 3].forEach((index) => release.set(relayer, [...pod, 'volumes', index, 'secret', 'optional'], true)), found: /lets a pod start without its certificate/ },
]);

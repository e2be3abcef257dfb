import { connect } from 'node:net';
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { Client, credentials, Server, ServerCredentials, status as Status } from '@grpc/grpc-js';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { RelayerServiceService } from '@settlement/proto/relayer/v1/relayer';
import { TestAuthority } from '@settlement/testing/certificates';
import { service as healthDefinition } from 'grpc-health-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, Peers, recordedLog } from '../test/mutual-tls-peers';
import { grpcClient } from './grpc-client';
import { peerTls } from './tls/channel-credentials';

const HOUR_MS = 3_600_000;
const past = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };
const future = { notBefore: new Date(Date.now() + HOUR_MS), notAfter: new Date(Date.now() + 2 * HOUR_MS) };
const all = { chainId: '' };

let peers: Peers;
beforeEach(() => {
  peers = new Peers();
});
afterEach(() => peers.close());

describe('a caller of the trust domain', () => {
  it('gets an answer when the table lists it for the method', async () => {
    const server = await peers.relayer();
    expect(await peers.client(server.port, peers.workload('operator')).listLanes(all)).toEqual({ lanes: [] });
  });

  it('is refused another method of the same service, by name, and is not served', async () => {
    let served = 0;
    const log = recordedLog();
    const server = await peers.relayer({
      logger: log,
      listLanes: () => {
        served += 1;
        return Promise.resolve({ lanes: [] });
      },
    });
    const batch = peers.client(server.port, peers.workload('batch-settlement'));
    for (let i = 0; i < 3; i += 1) {
      expect(await failureOf(batch.listLanes(all, { idempotent: true }))).toMatchObject({
        name: 'RpcRefused',
        status: Status.PERMISSION_DENIED,
        code: 'CALLER_NOT_ALLOWED',
        message: expect.stringContaining('batch-settlement may not call /settlement.relayer.v1.RelayerService/ListLanes') as string,
      });
    }
    expect(served).toBe(0);
    // Counted each time, said once in a while.
    expect(await server.metrics.metrics()).toContain('settlement_grpc_refused_calls_total{method="/settlement.relayer.v1.RelayerService/ListLanes",reason="CALLER_NOT_ALLOWED"} 3');
    expect(log.lines.filter(({ message }) => message.includes('refused'))).toEqual([expect.objectContaining({ level: 'warn', facts: expect.objectContaining({ caller: 'batch-settlement' }) as object })]);
  });

  it('is refused every method when it is nobody’s name', async () => {
    const server = await peers.relayer();
    expect(await failureOf(peers.client(server.port, peers.workload('payroll')).listLanes(all))).toMatchObject({ status: Status.PERMISSION_DENIED });
  });

  it('may ask for health whoever it is, but for reflection only as operator', async () => {
    const server = await peers.relayer();
    const call = async (workload: string, path: string): Promise<number> => {
      const source = peers.workload(workload);
      const { certificate, key, authorities } = source.current;
      const raw = new Client(`127.0.0.1:${server.port}`, credentials.createSsl(authorities, key, certificate), { 'grpc.ssl_target_name_override': 'settlement-relayer' });
      peers.onClose(() => {
        raw.close();
      });
      return new Promise((resolve) => {
        const stream = raw.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, (bytes: Buffer) => bytes, { deadline: Date.now() + 3_000 });
        stream.on('status', ({ code }) => {
          resolve(code);
        });
        stream.on('error', () => undefined);
        stream.on('data', () => undefined);
        stream.write(Buffer.alloc(0));
        stream.end();
      });
    };
    expect(await call('payroll', healthDefinition['Check']?.path ?? '')).toBe(Status.OK);
    const reflection = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    expect(await call('gateway', reflection)).toBe(Status.PERMISSION_DENIED);
    expect(await call('operator', reflection)).not.toBe(Status.PERMISSION_DENIED);
  });
});

describe('a caller that does not prove who it is', () => {
  const other = TestAuthority.root('another authority');
  const sameName = TestAuthority.root();
  const cases: readonly (readonly [string, string, (peers: Peers) => { readonly certificate: string; readonly key: string }])[] = [
    ['of an authority that is not believed', 'UNTRUSTED', () => other.issueWorkload('operator')],
    ['of an authority with the right name and another key', 'UNTRUSTED', () => sameName.issueWorkload('operator')],
    ['that has expired', 'CERT_HAS_EXPIRED', (it) => it.authority.issueWorkload('operator', past)],
    ['that is not yet valid', 'CERT_NOT_YET_VALID', (it) => it.authority.issueWorkload('operator', future)],
    ['without a URI', 'NO_IDENTITY', (it) => it.authority.issue({ dnsNames: ['settlement-operator'] })],
    ['of another trust domain', 'OTHER_TRUST_DOMAIN', (it) => it.authority.issueWorkload('operator', { trustDomain: 'staging' })],
    ['with two identities', 'SEVERAL_IDENTITIES', (it) => it.authority.issue({ uris: ['spiffe://settlement/operator', 'spiffe://settlement/gateway'] })],
    ['that an ordinary certificate has signed', 'UNTRUSTED', (it) => issuedByLeaf(it.authority)],
  ];

  it.each(cases)('with a certificate %s is refused as UNAUTHENTICATED: %s', async (_what, code, pair) => {
    let served = 0;
    const log = recordedLog();
    const server = await peers.relayer({
      logger: log,
      listLanes: () => {
        served += 1;
        return Promise.resolve({ lanes: [] });
      },
    });
    const { certificate, key } = pair(peers);
    const { path, requestSerialize, responseDeserialize } = RelayerServiceService.listLanes;
    const raw = new Client(`127.0.0.1:${server.port}`, credentials.createSsl(Buffer.from(peers.authority.certificate), Buffer.from(key), Buffer.from(certificate)), {
      'grpc.ssl_target_name_override': 'settlement-relayer',
    });
    peers.onClose(() => {
      raw.close();
    });
    const error = await new Promise<{ code: number; details: string } | null>((resolve) => {
      raw.makeUnaryRequest(path, requestSerialize, responseDeserialize, all, { deadline: Date.now() + 3_000 }, resolve);
    });
    expect(error).toMatchObject({ code: Status.UNAUTHENTICATED });
    expect(error?.details).toMatch(/certificate/);
    expect(served).toBe(0);
    const metrics = await server.metrics.metrics();
    const [, counted] = /settlement_tls_refused_connections_total\{reason="([A-Z_]+)"\} [1-9]/.exec(metrics) ?? [];
    // OpenSSL's names for one and the same differ with what it looks at first.
    expect(code === 'UNTRUSTED' ? ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CERT_SIGNATURE_FAILURE', 'INVALID_CA', 'INVALID_PURPOSE', 'UNSPECIFIED'] : [code]).toContain(counted);
    expect(log.lines.filter(({ message }) => message.includes('refused'))).toHaveLength(1);
  });

  it('with no certificate is refused as UNAUTHENTICATED, and told so', async () => {
    const server = await peers.relayer();
    const raw = new Client(`127.0.0.1:${server.port}`, credentials.createSsl(Buffer.from(peers.authority.certificate)), { 'grpc.ssl_target_name_override': 'settlement-relayer' });
    peers.onClose(() => {
      raw.close();
    });
    const error = await new Promise<{ code: number; details: string } | null>((resolve) => {
      raw.makeUnaryRequest('/settlement.relayer.v1.RelayerService/ListLanes', (it: Buffer) => it, (it: Buffer) => it, Buffer.alloc(0), { deadline: Date.now() + 3_000 }, resolve);
    });
    expect(error).toMatchObject({ code: Status.UNAUTHENTICATED, details: 'no client certificate was shown' });
  });

  it('in plain text gets no answer', async () => {
    const server = await peers.relayer();
    expect(await failureOf(peers.client(server.port, undefined).listLanes(all, { deadlineMs: 1_500 }))).toMatchObject({ name: 'OperationalError' });
    const socket = connect(server.port, '127.0.0.1');
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\n\r\n');
    socket.resume();
    await ended;
  });

  it('is not heard below TLS 1.3, and not again by a ticket of an earlier session', async () => {
    const server = await peers.relayer();
    const { certificate, key, authorities } = peers.workload('operator').current;
    const options = { host: '127.0.0.1', port: server.port, servername: 'settlement-relayer', cert: certificate, key, ca: authorities, ALPNProtocols: ['h2'] };
    await expect(connected({ ...options, maxVersion: 'TLSv1.2' as const })).rejects.toThrow(/alert|protocol version/);
    const first = await connected(options);
    const tickets: Buffer[] = [];
    first.on('session', (ticket: Buffer) => tickets.push(ticket));
    await new Promise((resolve) => first.once('data', resolve));
    first.destroy();
    for (const session of tickets) {
      const again = await connected({ ...options, session });
      expect(again.isSessionReused()).toBe(false);
      again.destroy();
    }
  });
});

describe('a server that does not prove who it is', () => {
  it('as the owner of the service gets no call, although its certificate is good and its host is right', async () => {
    // Gateway's identity in the URI, the relayer's names of hosts: what a taken-over gateway could never have issued, but a careless issuer could.
    const pair = peers.authority.issue({ uris: ['spiffe://settlement/gateway'], dnsNames: ['settlement-relayer'] });
    const port = await bareServer(pair, peers);
    const error = await failureOf(peers.client(port, peers.workload('operator')).listLanes(all, { deadlineMs: 1_500 }));
    expect(error).toMatchObject({ name: 'OperationalError', outcome: 'not-done', message: expect.stringContaining('the server is gateway, not relayer') as string });
  });

  it('by the name of the host gets no call, although its identity is right', async () => {
    const port = await bareServer(peers.authority.issueWorkload('relayer', { dnsNames: ['elsewhere'] }), peers);
    const error = await failureOf(peers.client(port, peers.workload('operator')).listLanes(all, { deadlineMs: 1_500 }));
    expect(error).toMatchObject({ outcome: 'not-done', message: expect.stringContaining("Host: settlement-relayer. is not in the cert's altnames") as string });
  });

  it.each([
    ['of an authority that is not believed', () => TestAuthority.root('another').issueWorkload('relayer')],
    ['that has expired', (it: Peers) => it.authority.issueWorkload('relayer', past)],
    ['of another trust domain', (it: Peers) => it.authority.issueWorkload('relayer', { trustDomain: 'staging' })],
  ])('with a certificate %s gets no call', async (_what, pair) => {
    const port = await bareServer(pair(peers), peers);
    expect(await failureOf(peers.client(port, peers.workload('operator')).listLanes(all, { deadlineMs: 1_500 }))).toMatchObject({ name: 'OperationalError', outcome: 'not-done' });
  });

  it('does not start when its certificate is not that of the service it serves', async () => {
    await expect(peers.relayer({ certificates: peers.workload('gateway') })).rejects.toThrow(/every client would refuse this server/);
  });

  it('is asked for its own name where the service is another’s', async () => {
    const server = await peers.relayer();
    const paymaster = grpcClient(PaymasterServiceService, `127.0.0.1:${server.port}`, { certificates: peers.workload('operator') });
    peers.onClose(() => {
      paymaster.close();
    });
    expect(await failureOf(paymaster.getBudget({ sponsorId: 's' }, { deadlineMs: 1_500 }))).toMatchObject({ outcome: 'not-done', message: expect.stringContaining('settlement-paymaster') as string });
  });

  it('is known by the name that was dialled where that is not loopback’s', async () => {
    // No names are resolved here: the address is checked as the name it is.
    const pair = peers.authority.issue({ uris: ['spiffe://settlement/relayer'], dnsNames: ['settlement-relayer.settlement.svc'], ipAddresses: ['127.0.0.1'] });
    const port = await bareServer(pair, peers);
    const source = peers.workload('operator');
    expect(peerTls(source, 'relayer', `settlement-relayer.settlement.svc:${port}`).options).toEqual({});
    expect(peerTls(source, 'relayer', `localhost:${port}`).options).toEqual({ 'grpc.ssl_target_name_override': 'settlement-relayer' });
  });
});

function connected(options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect(options);
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      resolve(socket);
    });
  });
}

/** A relayer that shows any pair: ours would not start with these. */
function bareServer(pair: { readonly certificate: string; readonly key: string }, peers: Peers): Promise<number> {
  const server = new Server();
  peers.onClose(() => {
    server.forceShutdown();
  });
  return new Promise((resolve, reject) => {
    const pairs = [{ cert_chain: Buffer.from(pair.certificate), private_key: Buffer.from(pair.key) }];
    server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(Buffer.from(peers.authority.certificate), pairs, true), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

/** Signed with the key of a certificate that is no authority. */
function issuedByLeaf(authority: TestAuthority): { readonly certificate: string; readonly key: string } {
  return authority.impostor('gateway').issueWorkload('operator');
}

import { status as Status } from '@grpc/grpc-js';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import { TestAuthority } from '@settlement/testing/certificates';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, Peers, recordedLog } from '../test/mutual-tls-peers';
import { grpcClient } from './grpc-client';

const HOUR_MS = 3_600_000;
const past = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };
const future = { notBefore: new Date(Date.now() + HOUR_MS), notAfter: new Date(Date.now() + 2 * HOUR_MS) };
const all = { chainId: '' };

let peers: Peers;
beforeEach(() => {
  peers = new Peers();
});
afterEach(() => peers.close());

describe('a caller with a certificate of the trust domain', () => {
  it('gets an answer when the table lists it for the method', async () => {
    const server = await peers.relayer();
    expect(await peers.client(server.port, peers.workload('operator')).listLanes(all)).toEqual({ lanes: [] });
  });
});

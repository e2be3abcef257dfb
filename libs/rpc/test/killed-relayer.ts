// A relayer to be killed: holds the first call for the chain `hold` of each process that was started with port 0, for ever.
import { rpcService, startGrpcServer, type RpcImplementation } from '@settlement/rpc/grpc-server';
import { RelayerServiceService as RelayerService } from '@settlement/proto/relayer/v1/relayer';

const port = Number(process.argv.at(-1));
const answering: Pick<RpcImplementation<typeof RelayerService>, 'listLanes'> = {
  listLanes: ({ chainId }) => (chainId === 'hold' && port === 0 ? new Promise(() => undefined) : Promise.resolve({ lanes: [] })),
};
const server = await startGrpcServer({ host: '127.0.0.1', port, services: [rpcService(RelayerService, answering as RpcImplementation<typeof RelayerService>)] });
process.stdout.write(`${server.port}\n`);

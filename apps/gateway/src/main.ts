import { runService } from '@settlement/service/run-service';
import { GATEWAY_MIGRATIONS } from './adapters/gateway-schema';
import { createGatewayApp, GatewayModule, listenForRequests } from './app.module';
import { parseGatewayConfig } from './config';

await runService({
  name: 'gateway',
  parseConfig: parseGatewayConfig,
  schema: [{ component: 'gateway', migrations: GATEWAY_MIGRATIONS }],
  module: (config, shell) => GatewayModule.forService(config, shell),
  createApp: createGatewayApp,
  started: listenForRequests,
});

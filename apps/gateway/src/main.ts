import { runService } from '@settlement/service/run-service';
import { createGatewayApp, GatewayModule, listenForRequests } from './app.module';
import { parseGatewayConfig } from './config';

await runService({
  name: 'gateway',
  parseConfig: parseGatewayConfig,
  module: (config, shell) => GatewayModule.forService(config, shell),
  createApp: createGatewayApp,
  started: listenForRequests,
});

import { runService } from '@settlement/service/run-service';
import { AppModule } from './app.module';
import { parseRelayerConfig } from './config';

await runService({
  name: 'relayer',
  parseConfig: parseRelayerConfig,
  module: (config, shell) => AppModule.forConfig(config, shell),
});

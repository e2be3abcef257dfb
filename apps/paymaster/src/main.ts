import { runService } from '@settlement/service/run-service';
import { AppModule } from './app.module';
import { parsePaymasterConfig } from './config';

await runService({
  name: 'paymaster',
  parseConfig: parsePaymasterConfig,
  module: (config, shell) => AppModule.forConfig(config, shell),
});

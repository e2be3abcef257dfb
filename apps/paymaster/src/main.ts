import { runService } from '@settlement/service/run-service';
import { PAYMASTER_MIGRATIONS } from './adapters/pg-sponsorship-book';
import { AppModule } from './app.module';
import { parsePaymasterConfig } from './config';

await runService({
  name: 'paymaster',
  parseConfig: parsePaymasterConfig,
  schema: [{ component: 'paymaster', migrations: PAYMASTER_MIGRATIONS }],
  module: (config, shell) => AppModule.forConfig(config, shell),
});

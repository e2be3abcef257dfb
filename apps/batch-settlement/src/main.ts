import { runService } from '@settlement/service/run-service';
import { AppModule } from './app.module';
import { parseConfig } from './config';
import { LEDGER_MIGRATIONS } from './ledger.migration';

await runService({
  name: 'batch-settlement',
  parseConfig,
  schema: [{ component: 'batch-settlement', migrations: LEDGER_MIGRATIONS }],
  module: (config, shell) => AppModule.forConfig(config, shell),
});

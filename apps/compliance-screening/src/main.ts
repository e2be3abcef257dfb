import { runService } from '@settlement/service/run-service';
import { SCREENING_MIGRATIONS } from './adapters/pg-list-archive';
import { AppModule } from './app.module';
import { parseScreeningConfig } from './config';

await runService({
  name: 'compliance-screening',
  parseConfig: parseScreeningConfig,
  schema: [{ component: 'compliance-screening', migrations: SCREENING_MIGRATIONS }],
  module: (config, shell) => AppModule.forConfig(config, shell),
});

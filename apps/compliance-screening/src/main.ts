import { runService } from '@settlement/service/run-service';
import { AppModule } from './app.module';
import { parseScreeningConfig } from './config';

await runService({
  name: 'compliance-screening',
  parseConfig: parseScreeningConfig,
  module: (config, shell) => AppModule.forConfig(config, shell),
});

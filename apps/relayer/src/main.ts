import { runService } from '@settlement/service/run-service';
import { RELAYER_MIGRATIONS } from './adapters/migrations';
import { BUNDLER_MIGRATIONS } from './adapters/pg-operation-slots';
import { AppModule } from './app.module';
import { parseRelayerConfig } from './config';

await runService({
  name: 'relayer',
  parseConfig: parseRelayerConfig,
  schema: [
    { component: 'relayer', migrations: RELAYER_MIGRATIONS, everywhere: true },
    { component: 'bundler', migrations: BUNDLER_MIGRATIONS },
  ],
  module: (config, shell) => AppModule.forConfig(config, shell),
});

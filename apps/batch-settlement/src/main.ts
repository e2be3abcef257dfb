import { runService } from '@settlement/service/run-service';
import { AppModule } from './app.module';
import { parseConfig } from './config';

await runService({ name: 'batch-settlement', parseConfig, module: (config, shell) => AppModule.forConfig(config, shell) });

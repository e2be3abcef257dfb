import type { Scenario } from './proof';
import { badImage } from './scenarios/bad-image';
import { payments } from './scenarios/install';
import { killKafka, killPostgres, killServices } from './scenarios/kills';
import { rollingUpgrade } from './scenarios/rolling-upgrade';

/** In this order: what leaves the cluster as it was comes first, what takes nodes away last. */
export const scenarios: readonly Scenario[] = [payments, rollingUpgrade, badImage, killServices, killPostgres, killKafka];

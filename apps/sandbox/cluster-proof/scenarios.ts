import type { Scenario } from './proof';
import { autoscaler } from './scenarios/autoscaler';
import { badImage } from './scenarios/bad-image';
import { hashChains } from './scenarios/hash-chains';
import { payments } from './scenarios/install';
import { interruptedDeploy } from './scenarios/interrupted-deploy';
import { killKafka, killPostgres, killServices } from './scenarios/kills';
import { drain, nodeLoss } from './scenarios/nodes';
import { admission, keda, observability } from './scenarios/operators';
import { rollingUpgrade } from './scenarios/rolling-upgrade';
import { rotation } from './scenarios/rotation';
import { walls } from './scenarios/walls';

/** In this order: what leaves the cluster as it was comes first, what takes nodes away last, and then what all of it has left is looked at. */
export const scenarios: readonly Scenario[] = [payments, interruptedDeploy, walls, rotation, rollingUpgrade, badImage, autoscaler, killServices, killPostgres, killKafka, drain, nodeLoss, hashChains, admission, observability, keda];

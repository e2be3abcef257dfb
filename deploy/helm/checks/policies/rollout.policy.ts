import { at, numberAt, objectAt, textAt, violation, type Policy, type Violation } from '../manifests';
import { serviceDeployments, workloads } from '../pods';
import { wholeNumber } from '../quantity';

/** New pods are ready before old ones go, a rollout that does not get on fails instead of hanging, and can be taken back. */
export const rollout: Policy = {
  rule: 'a rolling update takes no pod away before its successor is ready, and a stuck one is noticed',
  check(release) {
    const found: Violation[] = [];
    for (const { manifest } of serviceDeployments(release)) {
      const strategy = objectAt(manifest, 'spec', 'strategy');
      if (textAt(strategy, 'type') !== 'RollingUpdate') found.push(violation(manifest, ['spec', 'strategy', 'type'], 'is not RollingUpdate'));
      const away = at(strategy, 'rollingUpdate', 'maxUnavailable');
      if (away !== 0 && away !== '0%') found.push(violation(manifest, ['spec', 'strategy', 'rollingUpdate', 'maxUnavailable'], 'is not 0'));
      const surge = at(strategy, 'rollingUpdate', 'maxSurge');
      if (surge === undefined || wholeNumber(surge) === 0 || surge === '0%') found.push(violation(manifest, ['spec', 'strategy', 'rollingUpdate', 'maxSurge'], 'is not at least 1'));
      if ((numberAt(manifest, 'spec', 'revisionHistoryLimit') ?? 10) < 1) found.push(violation(manifest, ['spec', 'revisionHistoryLimit'], 'leaves nothing to roll back to'));
      if ((numberAt(manifest, 'spec', 'minReadySeconds') ?? 0) < 1) found.push(violation(manifest, ['spec', 'minReadySeconds'], 'is missing: a pod that is ready for a moment counts as a success'));
      const deadline = numberAt(manifest, 'spec', 'progressDeadlineSeconds') ?? 600;
      if (deadline > 900) found.push(violation(manifest, ['spec', 'progressDeadlineSeconds'], 'is more than a quarter of an hour'));
      if (at(manifest, 'spec', 'paused') === true) found.push(violation(manifest, ['spec', 'paused'], 'lets nothing roll out'));
    }
    for (const { manifest, kind } of workloads(release)) {
      if (kind === 'StatefulSet' && textAt(manifest, 'spec', 'updateStrategy', 'type') === 'OnDelete') found.push(violation(manifest, ['spec', 'updateStrategy', 'type'], 'is OnDelete, so that an upgrade does nothing'));
    }
    return found;
  },
};

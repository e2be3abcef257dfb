import { at, listAt, ofKind, textAt, textsAt, violation, type JsonObject, type Policy, type Release, type Step, type Violation } from '../manifests';

/** What the repository holds that a rule may refer to: read by the spec, so that the rule stays pure. */
export interface AlertContext {
  /** Names under which the code or a named exporter offers series. */
  readonly metrics: ReadonlySet<string>;
  /** Whether a file of the repository exists. */
  readonly exists: (path: string) => boolean;
}

/** Words of PromQL that look like series (Prometheus, "Querying: operators and functions"). */
const WORDS = new Set(['and', 'or', 'unless', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right', 'bool', 'offset', 'inf', 'nan', 'atan2', 'start', 'end']);

/** Names of series in an expression: what is left once strings, labels and functions are taken out. */
export function seriesOf(expression: string): string[] {
  const bare = expression
    .replaceAll(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g, '""')
    .replaceAll(/\{[^}]*\}/g, '{}')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '')
    .replaceAll(/\[[^\]]*\]/g, '');
  return [...new Set([...bare.matchAll(/[a-zA-Z_:][a-zA-Z0-9_:]*(?=(\s*\()?)/g)].flatMap((match) => {
    const name = match[0];
    const before = bare[(match.index ?? 0) - 1] ?? ' ';
    return match[1] !== undefined || WORDS.has(name.toLowerCase()) || /[0-9.]/.test(before) ? [] : [name];
  }))];
}

export function alertRules(context: AlertContext): Policy {
  return {
    rule: 'every alert asks for series that exist, says what it means and how urgent it is, and leads to a runbook that exists',
    check: (release) => [...ofKind(release, 'PrometheusRule').flatMap((manifest) => ruleViolations(manifest, context)), ...scalerViolations(release, context)],
  };
}

function ruleViolations(manifest: JsonObject, { metrics, exists }: AlertContext): Violation[] {
  const found: Violation[] = [];
  const recorded = new Set<string>();
  const alerts = new Map<string, number>();
  const each = (visit: (rule: Parameters<typeof at>[0], path: readonly Step[]) => void): void => {
    for (const [group, content] of listAt(manifest, 'spec', 'groups').entries()) for (const [index, rule] of listAt(content, 'rules').entries()) visit(rule, ['spec', 'groups', group, 'rules', index]);
  };
  each((rule) => recorded.add(textAt(rule, 'record') ?? ''));
  each((rule, path) => {
    const expression = at(rule, 'expr');
    for (const series of seriesOf(typeof expression === 'string' ? expression : '')) if (!metrics.has(series) && !recorded.has(series)) found.push(violation(manifest, [...path, 'expr'], `asks for ${series}, which nothing offers`));
    const alert = textAt(rule, 'alert');
    if (alert === undefined) return;
    alerts.set(alert, (alerts.get(alert) ?? 0) + 1);
    if (!['page', 'ticket'].includes(textsAt(rule, 'labels')['severity'] ?? '')) found.push(violation(manifest, [...path, 'labels', 'severity'], 'is neither page nor ticket'));
    // What counts events over a range needs no second look; what compares the moment does.
    if (textAt(rule, 'for') === undefined && !/\b(increase|changes|resets)\(/.test(String(expression))) found.push(violation(manifest, [...path, 'for'], 'is missing: one bad scrape would call somebody'));
    const { summary, runbook_url: runbook } = textsAt(rule, 'annotations');
    if (summary === undefined) found.push(violation(manifest, [...path, 'annotations', 'summary'], 'is missing'));
    if (runbook !== undefined && !/^https?:/.test(runbook) && !exists(runbook)) found.push(violation(manifest, [...path, 'annotations', 'runbook_url'], `is ${runbook}, which is not there`));
  });
  if (alerts.size === 0) found.push(violation(manifest, ['spec', 'groups'], 'has no alert'));
  return found;
}

/** KEDA's queries are PromQL as well: a series that nothing offers scales nothing, for ever. */
function scalerViolations(release: Release, { metrics }: AlertContext): Violation[] {
  return ofKind(release, 'ScaledObject').flatMap((manifest) =>
    listAt(manifest, 'spec', 'triggers').flatMap((trigger, index) => {
      const query = textAt(trigger, 'metadata', 'query') ?? '';
      return seriesOf(query).filter((series) => !metrics.has(series)).map((series) => violation(manifest, ['spec', 'triggers', index, 'metadata', 'query'], `asks for ${series}, which nothing offers`));
    }),
  );
}

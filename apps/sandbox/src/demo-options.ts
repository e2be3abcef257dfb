import { parseArgs } from 'node:util';
import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';
import { isServiceName, serviceNames, type ServiceName } from './service-process';

export interface DemoOptions {
  readonly payments: number;
  readonly merchants: number;
  readonly feed: 'postgres' | 'kafka';
  /** Killed with SIGKILL in mid-flow and started again. */
  readonly kill: readonly ServiceName[];
  readonly seed: number;
  readonly json: boolean;
  readonly report: string | undefined;
  readonly help: boolean;
}

/** Processes of this machine that the demo starts itself, or the cluster that `npm run cluster` has deployed to. */
export type DemoPlace = 'processes' | 'cluster';

/** On a cluster the watch list is installed beforehand: it names the sanctioned payers of these seeds. */
export const clusterSeedMax = 99;

export function demoHelp(place: DemoPlace): string {
  const [command, what, kafka] =
    place === 'processes'
      ? [
          'npm run demo --',
          `Starts the whole system on this machine (Postgres, an EVM node with the real USDC, five services), sends payments
through it and checks that every unit is where it belongs. Leaves nothing behind but the report.`,
          '\n  --kafka           facts travel over a real Kafka broker   (default: Postgres feed)',
        ]
      : [
          'npm run cluster -- demo',
          `Sends payments to the API of the system that \`npm run cluster -- deploy\` has installed, through the nodes' ports, and
checks that every unit is where it belongs. May be repeated: each run has merchants and payments of its own.`,
          '',
        ];
  return `${command} [options]

${what}

  --payments N      requests to submit, odd ones included   (default 500)
  --merchants M     merchants to pay                        (default 20)${kafka}
  --kill SERVICE    kill -9 that service in mid-flow and start it again; may be repeated:
                    ${serviceNames.join(', ')}
  --seed S          whole number; same seed, same payers, amounts and order (default 1)
  --json            one JSON document on standard output and nothing else there
  --report FILE     where the HTML page goes                (default .settlement/demo-report.html)
  --help            this text

Exit code 0 only when every invariant held and everything accepted reached its end.
`;
}

/** Throws `InvalidInput` with every problem at once. */
export function parseDemoOptions(argv: readonly string[], place: DemoPlace): DemoOptions {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        payments: { type: 'string', default: '500' },
        merchants: { type: 'string', default: '20' },
        kafka: { type: 'boolean', default: false },
        kill: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: '1' },
        json: { type: 'boolean', default: false },
        report: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    throw new InvalidInput([{ path: '', message: `${error instanceof Error ? error.message : String(error)}; try --help` }]);
  }
  const issues: InputIssue[] = [];
  const whole = (name: string, text: string, min: number, max: number): number => {
    const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < min || value > max) issues.push({ path: `--${name}`, message: `expected a whole number from ${min} to ${max}` });
    return value;
  };
  const payments = whole('payments', values.payments, 1, 100_000);
  const merchants = whole('merchants', values.merchants, 1, 1_000);
  const seed = whole('seed', values.seed, 0, place === 'cluster' ? clusterSeedMax : 2 ** 31);
  const kill = values.kill.flatMap((list) => list.split(',')).flatMap((name) => {
    if (isServiceName(name)) return [name];
    issues.push({ path: '--kill', message: `"${name}" is not a service; expected one of ${serviceNames.join(', ')}` });
    return [];
  });
  if (issues.length > 0) throw new InvalidInput(issues);
  return { payments, merchants, feed: values.kafka || place === 'cluster' ? 'kafka' : 'postgres', kill, seed, json: values.json, report: values.report, help: values.help };
}

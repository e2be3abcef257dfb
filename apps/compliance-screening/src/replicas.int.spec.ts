import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@settlement/config/system-ports';
import type { LocalPostgres } from '@settlement/local-stack/local-postgres';
import { startPostgres } from '@settlement/local-stack/postgres';
import { Role, ScreeningServiceService, Subject, Verdict, type ScreenRequest } from '@settlement/proto/screening/v1/screening';
import { grpcClient, type RpcClient } from '@settlement/rpc/grpc-client';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { ServiceUnderTest } from '@settlement/testing/service-under-test';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const LISTED = '0x7F367cC41522cE07553e823bf3be79A889DEbe1B';
const NEWLY_LISTED = '0x2222222222222222222222222222222222222222';
/** A key for tests; no other use. */
const KEY = '5e77'.repeat(16);
const POLL_MS = 50;
/** For so long after a version was recorded a process may still decide with the one before; any longer, it reads the record first. */
const BOUND_MS = 2 * POLL_MS;

interface Replica {
  readonly process: ServiceUnderTest;
  readonly client: RpcClient<typeof ScreeningServiceService>;
  /** Its own copy of the lists, as each node has one of a ConfigMap. */
  readonly folder: string;
}

let postgres: LocalPostgres;
let left: Replica;
let right: Replica;
let round = 0;

async function replica(): Promise<Replica> {
  const folder = mkdtempSync(join(tmpdir(), 'settlement-lists-'));
  const process = await ServiceUnderTest.prepare('compliance-screening', {
    DATABASE_URL: postgres.urlFor('compliance_screening'),
    LISTS_DIR: folder,
    LISTS_POLL_MS: String(POLL_MS),
    PARTIES_DIGEST_KEYS: KEY,
  });
  return { process, client: grpcClient(ScreeningServiceService, process.address), folder };
}

const ask = (id: string, address = NEWLY_LISTED): ScreenRequest => ({
  screeningId: `r${round}-${id}`,
  subject: Subject.SUBJECT_PAYMENT,
  subjectId: `pay-${id}`,
  parties: [{ role: Role.ROLE_PAYER, chainId: 'eip155:31337', address, name: '' }],
});
/** Twenty more, so that one entry more or less is no suspicious loss. */
const write = ({ folder }: Replica, version: string, addresses: readonly string[]): void =>
  writeSandboxList(join(folder, 'sandbox'), { addresses: [...addresses, ...Array.from({ length: 20 }, (_, i) => `0x${String(i).padStart(40, '9')}`)], names: [] }, version);
const uses = ({ process }: Replica, version: string): Promise<void> => process.until(({ status, body }) => status === 200 && body.includes(`sandbox@${version}#`));
async function pastTheBound({ client }: Replica): Promise<void> {
  const { versions } = await client.listVersions({});
  const recordedAtNs = versions.find(({ active }) => active)?.loadedAtNs ?? 0n;
  while (systemClock.nowNs() - recordedAtNs <= BigInt(BOUND_MS) * 1_000_000n) await systemClock.sleep(POLL_MS);
}
const verdictOf = async ({ client }: Replica, id: string): Promise<Verdict> => (await client.screen(ask(id), { deadlineMs: 30_000 })).verdict;

beforeAll(async () => {
  postgres = await startPostgres({ databases: ['compliance_screening'] });
  [left, right] = [await replica(), await replica()];
});
afterAll(async () => {
  for (const { client, process, folder } of [left, right]) {
    client.close();
    await process.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
  await postgres?.stop();
});

describe('two processes on the same database, each with a folder of its own', () => {
  /** Both at work with a list of this test's own that does not have `NEWLY_LISTED`. */
  beforeEach(async () => {
    round += 1;
    for (const one of [left, right]) write(one, `before-${round}`, [LISTED, `0x${String(round).padStart(40, '8')}`]);
    for (const { process } of [left, right]) process.start();
    for (const one of [left, right]) await uses(one, `before-${round}`);
  });
  afterEach(async () => {
    for (const { process } of [left, right]) {
      process.deliver('SIGCONT');
      await process.signal('SIGKILL');
    }
  });

  const publish = (one: Replica): void => write(one, `after-${round}`, [LISTED, NEWLY_LISTED, `0x${String(round).padStart(40, '8')}`]);

  it('decide each question once when both are asked at the same time, the list changing under them', async () => {
    const questions = Array.from({ length: 400 }, (_, i) => ask(`same-${i}`));
    const answers = { left: new Map<string, unknown>(), right: new Map<string, unknown>() };
    const all = async (name: 'left' | 'right', { client }: Replica): Promise<void> => {
      for (let from = 0; from < questions.length; from += 10) {
        const { items } = await client.screenMany({ items: questions.slice(from, from + 10) }, { deadlineMs: 30_000 });
        for (const item of items) answers[name].set(item.screeningId, item);
        if (name === 'left' && from === 100) publish(left);
      }
    };
    await Promise.all([all('left', left), all('right', right)]);
    expect(answers.left.size).toBe(questions.length);
    expect(answers.right).toEqual(answers.left);
    await Promise.all([uses(left, `after-${round}`), uses(right, `after-${round}`)]);
  });

  it('agree on a version that only one folder has, and it is recorded once', async () => {
    publish(left);
    await uses(right, `after-${round}`);
    expect(await verdictOf(right, 'late-folder')).toBe(Verdict.VERDICT_REJECT);
    publish(right);
    await Promise.all([uses(left, `after-${round}`), uses(right, `after-${round}`)]);
    const { versions } = await right.client.listVersions({});
    expect(versions.filter(({ version }) => version === `after-${round}`)).toHaveLength(1);
  });

  it('one is killed with the version that it brought: the other has it, and so has the restarted one without its folder', async () => {
    publish(left);
    await uses(left, `after-${round}`);
    await left.process.signal('SIGKILL');
    await uses(right, `after-${round}`);
    rmSync(join(left.folder, 'sandbox'), { recursive: true });
    left.process.start();
    await uses(left, `after-${round}`);
    expect(await verdictOf(left, 'restarted')).toBe(Verdict.VERDICT_REJECT);
  });

  it('one that stood still decides nothing with the list of before when it wakes', async () => {
    expect(await verdictOf(right, 'connected')).toBe(Verdict.VERDICT_ALLOW);
    right.process.deliver('SIGSTOP');
    publish(left);
    await uses(left, `after-${round}`);
    await pastTheBound(left);
    // They wait in its socket and are the first that it hears of when it wakes.
    const asked = Promise.all(Array.from({ length: 20 }, (_, i) => verdictOf(right, `asleep-${i}`)));
    expect(await verdictOf(left, 'meanwhile')).toBe(Verdict.VERDICT_REJECT);
    right.process.deliver('SIGCONT');
    expect(new Set(await asked)).toEqual(new Set([Verdict.VERDICT_REJECT]));
  });
});

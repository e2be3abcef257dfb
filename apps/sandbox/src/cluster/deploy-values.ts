import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEV_SPONSOR_SIGNER_KEY } from '@settlement/local-stack/deploy-accounts';
import { writeSandboxList } from '@settlement/testing/sandbox-list';
import { clusterSeedMax } from '../demo-options';
import { payerOf } from '../payer';
import { sandboxChain, type DeployedContracts } from '../sandbox-chain';
import { sandboxRelayerKeys } from '../sandbox-keys';
import type { DeploymentSecrets } from './deployment-secrets';
import { chainPace, chainRpcUrl, relayerLanes, sponsorId } from './installation';

export interface ImageTags {
  readonly services: string;
  /** Of Postgres and Kafka, which a new version of the services leaves as they are. */
  readonly data: string;
}

/** What only the running cluster knows, as values for the chart: on top of environments/local.yaml. */
export function deployValues(tags: ImageTags, contracts: DeployedContracts, secrets: DeploymentSecrets): object {
  return {
    image: { tag: tags.services },
    postgres: { imageTag: tags.data },
    kafka: { imageTag: tags.data },
    chains: [sandboxChain(contracts, chainRpcUrl, chainPace)],
    services: {
      paymaster: {
        // Pays for every account and every call that can be read.
        env: { SPONSORS: JSON.stringify([{ id: sponsorId, budgetWei: (10n ** 22n).toString(), policy: { enabled: true, displayName: 'Sandbox sponsor' } }]) },
      },
    },
    screening: { lists: { kind: 'inline', inline: { sandbox: sandboxList() } } },
    secrets: {
      mode: 'plain',
      plain: {
        services: {
          gateway: { ADMIN_TOKEN: secrets.adminToken, SECRETS_KEY: secrets.secretsKey },
          relayer: { RELAYER_KEYS: JSON.stringify(sandboxRelayerKeys(relayerLanes)) },
          paymaster: { PAYMASTER_SIGNER_KEY: DEV_SPONSOR_SIGNER_KEY },
          'compliance-screening': { PARTIES_DIGEST_KEYS: secrets.partiesDigestKey },
        },
        databasePasswords: secrets.databasePasswords,
      },
    },
  };
}

/** A watch list with the sanctioned payers of all seeds that the demo on a cluster may be given. File name → text. */
function sandboxList(): Readonly<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'settlement-list-'));
  try {
    const addresses = Array.from({ length: clusterSeedMax + 1 }, (_, seed) => payerOf(seed, 'sanctioned').address);
    writeSandboxList(folder, { addresses, names: ['PLACEHOLDER SANDBOX ENTRY'] });
    return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

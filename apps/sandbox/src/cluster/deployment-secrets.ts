import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';

const schema = z.strictObject({
  adminToken: z.string(),
  /** 32 bytes in base64. */
  secretsKey: z.string(),
  partiesDigestKey: z.string(),
  databasePasswords: z.record(z.string(), z.string()),
});

/** Secrets of one local cluster, drawn at its first deployment: worth nothing anywhere else. */
export type DeploymentSecrets = z.output<typeof schema>;

export const databaseRoles = ['gateway', 'relayer', 'paymaster', 'batch-settlement', 'compliance-screening'] as const;

/** Beside the cluster's kubeconfig, so that they go when the cluster goes. */
export function deploymentFolder(kubeconfig: string): string {
  return join(dirname(kubeconfig), 'deployment');
}

/** Those of the earlier deployment, or new ones: a redeployment must not lock the services out of their own data. */
export function deploymentSecrets(kubeconfig: string): DeploymentSecrets {
  const file = join(deploymentFolder(kubeconfig), 'secrets.json');
  if (existsSync(file)) return schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  const hex = (): string => randomBytes(24).toString('hex');
  const secrets: DeploymentSecrets = {
    adminToken: randomBytes(32).toString('hex'),
    secretsKey: randomBytes(32).toString('base64'),
    partiesDigestKey: randomBytes(32).toString('hex'),
    databasePasswords: Object.fromEntries(databaseRoles.map((role) => [role, hex()])),
  };
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
  return secrets;
}

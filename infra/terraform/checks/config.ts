import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Terraform and the provider are not this repository's: where they are is found here, and only here. */
export const providerVersion = '5.100.0';

/** Folders that hold `<registry>/hashicorp/aws/<version>/`, the given one first. */
const places = (given: string | undefined): string[] => {
  if (given !== undefined && given !== '') return [given];
  const home = homedir();
  return [
    '/opt/tf-plugins', '/usr/share/terraform/plugins', '/usr/local/share/terraform/plugins', '/usr/share/terraform/providers',
    join(home, '.terraform.d/plugins'), join(home, '.terraform.d/plugin-cache'), join(process.env['XDG_DATA_HOME'] ?? join(home, '.local/share'), 'terraform/plugins'),
  ];
};

const holdsProvider = (folder: string): boolean =>
  existsSync(folder) && readdirSync(folder, { withFileTypes: true }).some((registry) => registry.isDirectory() && existsSync(join(folder, registry.name, 'hashicorp/aws', providerVersion)));

/** A mirror of the provider for `terraform init -plugin-dir`, or undefined if there is none at hand. */
export function pluginDir(given = process.env['SETTLEMENT_TERRAFORM_PLUGIN_DIR']): string | undefined {
  return places(given).find(holdsProvider);
}

/** What a terraform process is given: nothing of the caller's account, configuration or variables. */
export function terraformEnvironment(): NodeJS.ProcessEnv {
  const passed = Object.entries(process.env).filter(([name]) => ['PATH', 'HOME', 'TMPDIR', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'SSL_CERT_FILE', 'SETTLEMENT_RUN_ID'].includes(name));
  return { ...Object.fromEntries(passed), TF_CLI_CONFIG_FILE: '/dev/null', TF_IN_AUTOMATION: '1', CHECKPOINT_DISABLE: '1', GOGC: '400', AWS_EC2_METADATA_DISABLED: 'true', NO_COLOR: '1' };
}
